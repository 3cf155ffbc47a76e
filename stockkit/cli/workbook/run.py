"""`stockkit run`: what its options mean, and its exit code."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockkit.cli.shared import (
    EXIT_FAILED,
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_STOPPED,
    fail,
    say_in_json,
    seconds,
    shown_path,
    warn,
)
from stockkit.errors import LakeError, ParamError, did_you_mean
from stockkit.workbook.manifest import SUCCEEDED, Manifest

if TYPE_CHECKING:
    from stockkit.workbook.chain import plan, publication, runner
    from stockkit.workbook.notifications.announcing import Announcer
    from stockkit.workbook.progress import protocol

EXAMPLE = "Example: stockkit run params/sample.yaml --only 02_query --reports /tmp/reports"
EVERY = "all"
NOTEBOOK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # no path and no option
LONGEST_DEADLINE = 30 * 86_400  # seconds


def with_names(words: Sequence[str]) -> list[str]:
    """The words of a command, with the name of all notebooks after a `--force` that has none."""
    pairs = zip(words, [*words[1:], ""], strict=True)
    return [
        part
        for word, after in pairs
        for part in ((word, EVERY) if word == "--force" and not NOTEBOOK.fullmatch(after) else (word,))
    ]


def run(
    params_file: Annotated[Path | None, typer.Argument(metavar="PARAMS", help="A YAML file of parameters.")] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="Set one parameter; may be repeated.")
    ] = None,
    reports: Annotated[
        str | None, typer.Option(help="Where reports go: a folder, reports/ by default, or s3://bucket/prefix.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="NOTEBOOK", help="Stop after this notebook.")] = None,
    only: Annotated[str | None, typer.Option(metavar="NOTEBOOK", help="Run this notebook alone.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run that was stopped or has failed.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, max=64, help="Notebooks side by side; 0: one a core, at most 4.")] = 0,
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop in time to have ended by then, as in 14m or 840s.")
    ] = None,
    notify: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL", help="Tell the outcome over it; may be repeated.")
    ] = None,
    notify_on: Annotated[
        str | None, typer.Option(metavar="WHEN", help="always, failure, or change: another outcome than last time.")
    ] = None,
    wait: Annotated[
        int, typer.Option(min=0, max=2_592_000, metavar="SECONDS", help="How long to wait for another run on the lake.")
    ] = 3600,
    explain: Annotated[bool, typer.Option("--explain", help="Say of each notebook why it runs.")] = False,
    force: Annotated[
        list[str] | None,
        typer.Option(metavar="[NOTEBOOK]", help="Run it whatever is kept of it; without a name all of them."),
    ] = None,
    log: Annotated[str, typer.Option(metavar="KIND", help="What goes to stderr: auto, lines, or json.")] = "auto",
) -> None:
    """Run the notebooks that PARAMS names and write an HTML report; the last line is its path."""
    from stockkit.workbook import progress
    from stockkit.workbook.chain.runner import Options
    from stockkit.workbook.notifications import announcing, chosen

    shown = progress.for_log(log)
    say_in_json(yes=log == "json")
    place, file = _places(params_file, reports, resume)
    teller = chosen.announcer(file, parameter or [], place.local, channels=notify, when=notify_on)
    teller.warn = warn
    with _told_when_interrupted(), announcing.announcing(teller):
        todo, resumed = _planned(params_file, parameter, place, until, only, resume)
        span = None if deadline is None else _seconds_until(deadline)
        teller.ends = teller.started + (math.inf if span is None else span)
        how = Options(jobs, span, resumed, on_folder=teller.begin, wait=wait,
                      publish=lambda folder: teller.publish(place.publish(folder)),
                      force=_forced(todo, force or ()), explain=explain)  # fmt: skip
        code = _run(todo, place.local, how, teller, shown)
    if code:
        raise typer.Exit(code)


def _seconds_until(deadline: str) -> float:
    """The seconds of a deadline that a run can have."""
    span = seconds("--deadline", deadline)
    if not 0 < span <= LONGEST_DEADLINE:
        raise ParamError(f"--deadline {deadline}: must be more than 0 seconds and at most thirty days.")
    return span


@contextmanager
def _told_when_interrupted() -> Iterator[None]:
    """Say of a run that was stopped what became of it."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        fail(str(stopped) or "interrupted: nothing was started.")
        raise typer.Exit(EXIT_INTERRUPTED) from stopped


def _run(todo: plan.RunPlan, folder: Path, options: runner.Options, teller: Announcer, shown: protocol.Progress) -> int:
    """Run a plan and say how that went; the exit code."""
    from stockkit.workbook.chain import conclusion
    from stockkit.workbook.chain.runner import run as start

    try:
        manifest = start(todo, folder, shown, options)
    except LakeError as error:  # after the start: reports cannot be written or published, another run has the lake
        fail(str(error))
        teller.fail(error, EXIT_FAILED)
        return EXIT_FAILED
    code = 0
    if manifest.status != SUCCEEDED:
        stopped = EXIT_STOPPED if conclusion.is_interrupted(manifest) else EXIT_FAILED
        code = EXIT_INCOMPLETE if conclusion.is_incomplete(manifest) else stopped
    teller.end(manifest, code)  # before anything is shown to nobody
    if code:
        _explain(manifest)
    with suppress(OSError):  # a terminal that is closed
        print(shown_path(teller.page), flush=True)
    return code


def _places(params_file: Path | None, reports: str | None, resumed: str | None) -> tuple[publication.Reports, Path]:
    """Where reports go, and the parameters file, as far as they can be known before the plan."""
    from stockkit.lake.tables import workbook_root
    from stockkit.workbook.chain import publication
    from stockkit.workbook.notifications import chosen

    file = params_file or Path("params")
    place = publication.open_reports(reports, chosen.root_of(file) if params_file else workbook_root())
    if resumed is None:
        return place, file
    place.fetch(resumed)
    return place, chosen.params_file_of(place.local, resumed)


def _planned(
    params_file: Path | None,
    parameter: list[str] | None,
    place: publication.Reports,
    until: str | None,
    only: str | None,
    resumed: str | None,
) -> tuple[plan.RunPlan, Manifest | None]:
    """The plan of a new run, or of one that goes on with its manifest."""
    from stockkit.workbook.chain import plan, resume

    if resumed is not None:
        if params_file or parameter or until or only:
            raise ParamError("--resume RUN goes on with the parameters and notebooks of that run: name nothing else.")
        return resume.resume(resumed, place.local)
    if params_file is None:
        raise ParamError("name a parameters file, as in: stockkit run params/sample.yaml")
    todo = plan.plan(params_file, parameter or [], until=until, only=only)
    place.check()
    return todo, None


def _forced(todo: plan.RunPlan, words: Sequence[str]) -> set[str]:
    """The notebooks that run whatever is kept of them.

    Raises:
        ParamError: one of them is none of this run.
    """
    names = [notebook.name for notebook in todo.chain]
    for word in set(words) - {EVERY, *names}:
        raise ParamError(f"--force {word[:60]}: this run has {', '.join(names)}.{did_you_mean(word, names)}")
    return {*names} if EVERY in words else {*words}


def _explain(manifest: Manifest) -> None:
    """Say in at most five lines which notebook and cell failed, why, and where the evidence is."""
    failed = next((step for step in manifest.steps if step.error), None)
    if failed is None or failed.error is None:
        fail(str(manifest.reason))
        return
    error = failed.error
    where = f"cell [{error.cell}]" if error.cell is not None else error.where
    cause = textwrap.shorten(f"{error.ename}: {error.evalue}", 400, placeholder=" …")
    left = [step.name for step in manifest.steps if step.status == "not run"]
    fail(f"notebook {failed.name}, {where}", f"cause: {cause}", f"not run: {', '.join(left) or 'none'}")
