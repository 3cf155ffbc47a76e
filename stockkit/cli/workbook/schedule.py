"""`stockkit schedule`: a run after each session, by cron or systemd."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from stockkit.cli.shared import EXIT_FAILED, fail
from stockkit.errors import LakeError, ParamError, RunError, StockkitError

if TYPE_CHECKING:
    import pandas as pd

    from stockkit.workbook.scheduling.entry import Entry
    from stockkit.workbook.scheduling.timetable import Timetable

EXAMPLE = "Example: stockkit schedule params/sample.yaml --at close+30m --install -- --until 04_model"
SHOWN = 3  # runs to come
LARGEST_LOG = 10_000_000  # bytes, from which on a log makes room for a new one


def schedule(
    context: typer.Context,
    params_file: Annotated[Path | None, typer.Argument(metavar="[PARAMS]", help="A YAML file of parameters.")] = None,
    words: Annotated[list[str] | None, typer.Argument(metavar="[-- OPTIONS OF RUN]", help="Given to the run.")] = None,
    at: Annotated[str, typer.Option(help="close+30m, or 18:30 by the exchange's clock.")] = "close+30m",
    kind: Annotated[str | None, typer.Option("--as", metavar="cron|systemd", help="By default what is there.")] = None,
    calendar: Annotated[str, typer.Option(help="The exchange, in place of the parameters'.")] = "",
    log: Annotated[Path | None, typer.Option(help="The file for what the runs print.")] = None,
    environment: Annotated[
        Path | None, typer.Option(metavar="FILE", help="NAME=value lines that the runs get, as keys.")
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Put it in place; again is the same as once.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Show what is in place, with its next runs.")] = False,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Run now if a session's run is due; what cron calls.")
    ] = False,
) -> None:
    """Run PARAMS once after each session of its calendar, on any machine; prints the lines unless told to install."""
    if show:
        _list(context)
        return
    if params_file is None:
        raise ParamError("name the parameters file to schedule, as in stockkit schedule params/sample.yaml, or --list.")
    params_file = params_file.resolve()
    if remove:
        _remove(params_file)
        return
    options = _options(context, params_file, words or [])
    entry = _entry(params_file, at, calendar, words or [], log, environment)
    if if_due:
        _run_if_due(entry, _overrides(options))
    else:
        _check_run(entry, options)
        _put(entry, _overrides(options), kind, install=install)


def now() -> pd.Timestamp:
    """This moment, UTC."""
    import pandas as pd

    return pd.Timestamp.now("UTC")


def _options(context: typer.Context, params_file: Path, words: Sequence[str]) -> dict[str, Any]:
    """The options of a run, by name, as `stockkit run` reads them."""
    root = context.find_root()
    command: Any = root.command.get_command(root, "run")  # type: ignore[attr-defined]
    options = dict(command.make_context("stockkit run", [str(params_file), *words]).params)
    if options.get("resume"):
        raise ParamError("--resume goes on with one run of the past: a schedule starts new ones.")
    return options


def _overrides(options: dict[str, Any]) -> list[str]:
    return list(options.get("parameter") or [])


def _entry(
    params_file: Path, at: str, calendar: str, words: Sequence[str], log: Path | None, environment: Path | None
) -> Entry:
    from stockkit.workbook.scheduling import answers
    from stockkit.workbook.scheduling.entry import Entry, name_of

    log = (log or answers.default_log(name_of(params_file))).absolute()
    program = Path(sys.executable).with_name("stockkit")
    start = (str(program),) if program.is_file() else (sys.executable, "-m", "stockkit.cli")
    variables = str(environment.absolute()) if environment else ""
    return Entry(str(params_file), at, calendar, tuple(words), str(log), variables, _path(), start)


def _path() -> str:
    """The folders for programs: this Python's, and those of PATH that any process can use."""
    given = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder.startswith("/")]
    return os.pathsep.join(dict.fromkeys([str(Path(sys.executable).parent), *given]))


def _root(entry: Entry) -> Path:
    from stockkit.workbook.chain import plan

    return plan.root_of(Path(entry.params))


def _calendar(entry: Entry, overrides: Sequence[str]) -> str:
    """The calendar of a run: given, of its parameters, or the default of its first notebook that has one."""
    from stockkit.market.sessions import DEFAULT
    from stockkit.workbook import notebooks, param_values, params

    root = _root(entry)
    given = params.load(Path(entry.params))
    node = params.parse_overrides(overrides).get("calendar", given.values.get("calendar"))
    if entry.calendar:
        value = entry.calendar
    elif node is not None:
        value = params.convert(node, "", "calendar")
    else:
        chain = (notebooks.load(root / "notebooks", name).parameters for name in given.notebooks)
        value = next((str(known["calendar"]) for known in chain if "calendar" in known), DEFAULT)
    with chdir(root):  # where a calendar's file is looked for
        return str(param_values.check("calendar", value))


def _table(entry: Entry, overrides: Sequence[str], instant: pd.Timestamp, *, far: bool = False) -> Timetable:
    from stockkit.workbook.scheduling import timetable

    ahead = timetable.AHEAD if far else timetable.MARGIN
    return timetable.timetable(_calendar(entry, overrides), timetable.parse(entry.at), instant, ahead)


def _put(entry: Entry, overrides: Sequence[str], kind: str | None, *, install: bool) -> None:
    """Print the lines of a schedule, or install them."""
    from stockkit.workbook.scheduling import answers, cron, installation, systemd
    from stockkit.workbook.scheduling.timetable import State

    if kind not in (None, *installation.KINDS):
        raise ParamError(f"--as {kind[:40]!a} is neither {' nor '.join(installation.KINDS)}.")
    kind, instant = kind or installation.usual_kind(), now()
    table = _table(entry, overrides, instant, far=True)
    texts = (
        {"": cron.block(entry, table.minutes(instant, _machine_zone()))}
        if kind == "cron"
        else systemd.units(entry, table.zone, table.times(instant), _root(entry))
    )
    if not install:
        _show(texts)
    else:
        state = answers.state_of(Path(entry.log))
        if not state.exists():
            answers.keep(state, State(instant))
        _install(entry, kind, texts)
    print(f"# {entry.name}, at {entry.at} of {table.name} ({table.zone}); the next runs:")
    for line in _to_come(table, instant):
        print(f"#   {line}")


def _check_run(entry: Entry, options: dict[str, Any]) -> None:
    """Refuse a run that would not start."""
    from stockkit.workbook.chain import plan

    with chdir(_root(entry)), _with(_variables(entry)):
        plan.plan(Path(entry.params), _overrides(options), until=options["until"], only=options["only"])


def _variables(entry: Entry) -> dict[str, str]:
    """What the file of variables sets."""
    from stockkit.workbook.scheduling import environment

    return environment.read(Path(entry.environment)) if entry.environment else {}


@contextmanager
def _with(variables: dict[str, str]) -> Iterator[None]:
    """Have these variables in the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _show(texts: dict[str, str]) -> None:
    for name, text in texts.items():
        print(f"{f'# ~/.config/systemd/user/{name}' if name else '# for crontab -e'}\n{text}", end="")


def _install(entry: Entry, kind: str, texts: dict[str, str]) -> None:
    from stockkit.workbook.scheduling import installation

    try:
        if kind == "cron":
            installation.install_cron(entry.name, texts[""])
        else:
            installation.install_systemd(texts)
    except StockkitError as error:
        _show(texts)
        raise RunError(f"{error} The lines are above, to put in place by hand.") from error
    installation.remove(entry.name, [other for other in installation.KINDS if other != kind])
    print(f"# installed with {kind}: {entry.name}; its log is {entry.log}")
    if kind == "systemd" and not installation.is_lingering():
        print("# it runs only while you are logged in, until you say `loginctl enable-linger`")


def _machine_zone() -> tzinfo:
    """The zone of this machine's clock, which cron goes by whatever TZ says here."""
    try:
        with open("/etc/localtime", "rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return datetime.now().astimezone().tzinfo or UTC


def _to_come(table: Timetable, instant: pd.Timestamp) -> list[str]:
    """The next runs in words: session, the exchange's time, the time here."""
    return [
        f"session {day.date()}: {moment.tz_convert(table.zone):%a %Y-%m-%d %H:%M %Z}, "
        f"here {moment.to_pydatetime().astimezone():%a %Y-%m-%d %H:%M %Z}"
        for day, moment in table.after(instant, SHOWN)
    ] or ["none: the calendar's record ends"]


def _list(context: typer.Context) -> None:
    from stockkit.workbook.scheduling import installation

    entries = installation.entries()
    for kind, entry in entries:
        words = f" -- {' '.join(entry.words)}" if entry.words else ""
        print(f"{entry.name} ({kind}): {entry.params} at {entry.at}{words}\n  log {entry.log}")
        try:
            overrides = _overrides(_options(context, Path(entry.params), entry.words))
            for line in _to_come(_table(entry, overrides, now()), now()):
                print(f"  {line}")
        except StockkitError as error:
            print(f"  cannot run: {error}")
    if not entries:
        print("no run is scheduled for this user: stockkit schedule PARAMS --at close+30m --install")


def _remove(params_file: Path) -> None:
    from stockkit.workbook.scheduling import installation
    from stockkit.workbook.scheduling.entry import name_of

    name = name_of(params_file)
    removed = installation.remove(name)
    print(f"removed from {' and '.join(removed)}: {name}" if removed else f"{params_file} was not scheduled.")


def _run_if_due(entry: Entry, overrides: Sequence[str]) -> None:
    """Become the run of a session where one is due; say once a day that the exchange is closed; else be silent."""
    from stockkit.workbook.scheduling import answers
    from stockkit.workbook.scheduling.timetable import ask

    log = Path(entry.log)
    try:
        instant, variables = now(), _variables(entry)
        table = _table(entry, overrides, instant)
        answer = answers.answered(log, lambda before: ask(table, before, instant))
    except StockkitError as error:
        _note(log, f"error: {error}")
        raise
    if answer.text:
        _note(log, answer.text)
        print(answer.text, flush=True)
    if answer.ended:
        raise typer.Exit(EXIT_FAILED)
    if answer.session:
        _become_the_run(entry, log, variables)


def _note(log: Path, text: str) -> None:
    """Add a line to the log; a log that has grown large makes room first."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(f"{log}.1")
        with open(log, "a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n")
    except OSError as error:
        fail(f"cannot write the log {log}: {error.strerror}")


def _become_the_run(entry: Entry, log: Path, variables: dict[str, str]) -> None:
    """Put `stockkit run` in place of this process, in the workbook's folder; it prints into the log."""
    command = [sys.executable, "-m", "stockkit.cli", "run", entry.params, *entry.words]
    try:
        output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    except OSError as error:
        raise LakeError(f"cannot write the log {log}: {error.strerror}. Name another with --log FILE.") from error
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(_root(entry))
    os.execve(sys.executable, command, {**os.environ, **variables})
