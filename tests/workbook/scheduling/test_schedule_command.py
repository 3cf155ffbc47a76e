"""`stockkit schedule` as a user meets it: a crontab program on PATH, a workbook, and runs that really happen."""

from __future__ import annotations

import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import pandas as pd
import pytest

from stockkit.cli.workbook import schedule
from stockkit.workbook.scheduling import answers, installation, timetable
from stockkit.workbook.scheduling.timetable import State, ask
from tests.conftest import make_workbook, stockkit, stockkit_process

CRONTAB = """#!/bin/sh
[ -e "$CRONTAB_FILE.refuses" ] && [ "$1" = - ] && { echo "bad minute" >&2; exit 1; }
[ -e "$CRONTAB_FILE.forbids" ] && { echo "You (me) are not allowed to use this program" >&2; exit 1; }
case "$1" in
  -l) [ -e "$CRONTAB_FILE" ] || { echo "no crontab for me" >&2; exit 1; }; cat "$CRONTAB_FILE" ;;
  -) cat > "$CRONTAB_FILE" ;;
esac
"""
SYSTEMCTL = """#!/bin/sh
echo "$@" >> "$SYSTEMCTL_LOG"
[ -e "$SYSTEMCTL_LOG.refuses" ] && [ "$2" = enable ] && { echo "Failed to connect to bus" >&2; exit 1; }
exit 0
"""
THEIRS = b"# mine\n5 4 * * * x  # 100\\%\n\xff\n"
NOTEBOOK = "import os; open('ran.txt', 'a').write(os.environ.get('VARIABLE', 'x'))"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A machine of its own: programs, crontab, units and logs in a folder."""
    (programs := tmp_path / "programs").mkdir()
    (programs / "crontab").write_text(CRONTAB)
    (programs / "crontab").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    for name, folder in (("CRONTAB_FILE", "crontab"), ("XDG_STATE_HOME", "state"), ("XDG_CONFIG_HOME", "config")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    return tmp_path


@pytest.fixture
def workbook(tmp_path):
    book = make_workbook(tmp_path / 'it\'s a "$book"', own_notebooks=True)
    document = nbformat.v4.new_notebook(metadata={"stockkit": {"reads": [], "writes": []}})
    document.cells = [
        nbformat.v4.new_code_cell('calendar = "24/7"', metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(NOTEBOOK),
    ]
    nbformat.write(document, book / "notebooks" / "01_x.ipynb")
    (book / "params" / "own.yaml").write_text("notebooks: [01_x]\n")
    return book


def crontab_of(home):
    return (home / "crontab").read_bytes() if (home / "crontab").exists() else b""


INSTALL = ("schedule", "params/own.yaml", "--at", "close+30m", "--as", "cron", "--install")


def test_installed_twice_it_stands_once_and_removed_it_leaves_the_crontab_as_it_was(home, workbook):
    (home / "crontab").write_bytes(THEIRS)
    first = stockkit(workbook, *INSTALL)
    once = crontab_of(home)
    assert first.returncode == 0, first.stderr
    assert len(re.findall(r"session 20\d\d-\d\d-\d\d: \w{3} .* UTC, here ", first.stdout)) == 3
    assert once.startswith(THEIRS)
    assert stockkit(workbook, *INSTALL).returncode == 0
    assert crontab_of(home) == once
    assert stockkit(workbook, *INSTALL, "--", "-p", "calendar=XNYS").returncode == 0  # in place of the first
    assert crontab_of(home).count(b"--if-due") == 1
    listed = stockkit(workbook, "schedule", "--list")
    assert "own.yaml at close+30m -- -p calendar=XNYS" in listed.stdout
    assert len(re.findall(r"session 20\d\d-\d\d-\d\d: .* E[SD]T, here ", listed.stdout)) == 3
    assert "removed from cron" in stockkit(workbook, "schedule", "params/own.yaml", "--remove").stdout
    assert crontab_of(home) == THEIRS
    assert "was not scheduled" in stockkit(workbook, "schedule", "params/own.yaml", "--remove").stdout
    assert "no run is scheduled" in stockkit(workbook, "schedule", "--list").stdout


def test_without_install_the_lines_are_printed_and_nothing_is_changed(home, workbook):
    done = stockkit(workbook, *INSTALL[:-1])
    assert "* * * * /usr/bin/env PATH=" in done.stdout
    assert not (home / "crontab").exists()
    assert not (home / "state").exists()


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (lambda home: (home / "crontab.forbids").touch(), "`crontab -l` failed, so nothing was changed: You"),
        (lambda home: (home / "crontab.refuses").touch(), "refused the new crontab, the old one stands: bad minute"),
        (lambda home: (home / "programs" / "crontab").unlink(), "there is no program `crontab`"),
    ],
)
def test_a_crontab_that_cannot_be_changed_is_left_and_the_lines_are_shown(home, workbook, plant, says):
    (home / "crontab").write_bytes(THEIRS)
    plant(home)
    done = stockkit(workbook, *INSTALL)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "# >>> stockkit schedule" in done.stdout
    assert crontab_of(home) == THEIRS


def fired(home, **more):
    """What cron would do with the line that is in the crontab."""
    (line,) = [line for line in crontab_of(home).decode().splitlines() if "--if-due" in line and line[0] != "#"]
    command = line.split(" ", 5)[5].replace(r"\%", "%")
    environment = {"HOME": str(home), "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"} | more
    return subprocess.run(
        ["/bin/sh", "-c", command], cwd=home, env=environment, capture_output=True, text=True, timeout=600
    )


def log_of(home):
    (state,) = home.glob("state/stockkit/*.log.state")
    return state.with_suffix("")


def test_the_line_runs_a_session_once_in_the_workbooks_folder_and_logs_it(home, workbook):
    (variables := home / "my variables").write_text("# mine\nexport VARIABLE='a # b'\n")
    variables.chmod(0o600)
    words = ("--environment", str(variables), "--", "--reports", "out 100%")
    assert stockkit(workbook, *INSTALL[:3], "close", *INSTALL[4:], *words).returncode == 0
    assert fired(home).returncode == 0  # what was due before it was installed is not run
    assert not (workbook / "ran.txt").exists()
    log = log_of(home)
    answers.keep(answers.state_of(log), State(pd.Timestamp.now("UTC") - pd.Timedelta(days=1, hours=1)))
    both = [fired(home), fired(home)]
    assert [(done.returncode, done.stderr) for done in both] == [(0, ""), (0, "")]
    assert (workbook / "ran.txt").read_text() == "a # b"
    text = log.read_text()
    assert re.search(r"^20\S+Z session 20\S+ of 24/7$", text, re.M)
    assert text.rstrip().endswith("index.html")
    assert list(workbook.glob("out 100%/*/run.json"))


def test_a_failing_run_is_the_commands_failure_and_is_not_run_again(home, workbook):
    document = nbformat.read(workbook / "notebooks" / "01_x.ipynb", as_version=4)
    document.cells.append(nbformat.v4.new_code_cell("raise ValueError('planted')"))
    nbformat.write(document, workbook / "notebooks" / "01_x.ipynb")
    log = home / "own.log"
    answers.keep(answers.state_of(log), State(pd.Timestamp.now("UTC") - pd.Timedelta(days=1, hours=1)))
    words = ("schedule", "params/own.yaml", "--at", "close", "--log", str(log), "--if-due")
    codes = [command(workbook, *words).returncode for command in (stockkit_process, stockkit)]
    assert (codes, "planted" in log.read_text()) == ([1, 0], True), log.read_text()


def test_a_closed_day_exits_0_and_says_so_once(home, workbook, monkeypatch):
    monkeypatch.setattr(schedule, "now", lambda: pd.Timestamp("2026-11-26 21:31", tz="UTC"))
    log = home / "own.log"
    answers.keep(answers.state_of(log), State(pd.Timestamp("2026-11-25 22:00", tz="UTC"), "2026-11-25"))
    words = ("schedule", "params/own.yaml", "--if-due", "--log", str(log), "--", "-p", "calendar=XNYS")
    done = [stockkit(workbook, *words) for _ in range(2)]
    says = "XNYS is closed on 2026-11-26 (Thanksgiving), the next session is 2026-11-27.\n"
    assert [(one.returncode, one.stdout) for one in done] == [(0, says), (0, "")]
    assert log.read_text().count(says) == 1


def test_days_of_ones_own_in_a_file_count_and_the_file_is_looked_for_in_the_workbook(home, workbook, monkeypatch):
    (workbook / "days.csv").write_text("2026-11-26,open\n2026-11-27,closed\n")
    monkeypatch.setattr(schedule, "now", lambda: pd.Timestamp("2026-11-25 21:00", tz="UTC"))
    done = stockkit(workbook / "params", "schedule", "own.yaml", "--at", "18:30", "--calendar", "XNYS@days.csv")
    assert re.findall(r"session (\S+):", done.stdout) == ["2026-11-25", "2026-11-26", "2026-11-30"], done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["params/own.yaml", "--at", "noon"], "is no time after a session"),
        (["params/own.yaml", "--as", "launchd"], "neither cron nor systemd"),
        (["params/none.yaml"], "cannot read the parameters file"),
        (["params/own.yaml", "--calendar", "NYSX"], "is not an exchange calendar"),
        (["params/own.yaml", "--", "-p", "horizn=5"], "there is no parameter 'horizn'"),
        (["params/own.yaml", "--", "--onyl", "01_x"], "No such option: --onyl"),
        ([], "name the parameters file to schedule"),
    ],
)
def test_what_cannot_run_is_refused_before_it_is_scheduled(home, workbook, words, says):
    done = stockkit(workbook, "schedule", "--install", *words)
    assert done.returncode == 2
    assert says in " ".join(re.sub(r"[│╭─╮╰╯]", " ", done.stderr).split())
    assert not (home / "crontab").exists()


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ("KEY=Canary123", 0o644, "others may read"),
        ("A=1\nCanary123\n", 0o600, "line 2 sets no variable"),
        ("KEY='Canary123", 0o600, "line 1: the quotes do not close"),
        ("1A=Canary123", 0o600, "line 1 sets no variable"),
    ],
)
def test_a_file_of_variables_that_cannot_be_is_refused_without_telling_a_value(home, workbook, text, mode, says):
    (variables := home / "variables").write_text(text)
    variables.chmod(mode)
    done = stockkit(workbook, *INSTALL, "--environment", str(variables))
    assert (done.returncode, says in done.stderr, "Canary123" in done.stderr) == (2, True, False)
    assert not (home / "crontab").exists()


def test_an_answer_that_cannot_be_kept_starts_no_run(home, workbook):
    log = home / "folder.log"
    answers.state_of(log).mkdir()
    done = stockkit(workbook, "schedule", "params/own.yaml", "--if-due", "--log", str(log))
    assert done.returncode == 2
    assert "cannot be read" in done.stderr
    assert "cannot be read" in log.read_text()
    assert not (workbook / "ran.txt").exists()


def test_of_many_that_ask_at_once_one_is_told_to_run(tmp_path):
    now, log = pd.Timestamp("2026-11-20 21:31", tz="UTC"), tmp_path / "a.log"
    table = timetable.timetable("24/7", timetable.parse("close"), now)
    answers.keep(answers.state_of(log), State(now - timetable.DAY))
    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(answers.answered, log, lambda before: ask(table, before, now)) for _ in range(20)]
    assert sorted(one.result().session for one in asking) == [*[""] * 19, "2026-11-19"]


@pytest.fixture
def systemctl(home, monkeypatch):
    program = home / "programs" / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    monkeypatch.setenv("SYSTEMCTL_LOG", str(home / "systemctl.log"))
    return home / "systemctl.log"


def test_a_timer_is_installed_in_place_of_the_cron_line_listed_and_removed(home, workbook, systemctl):
    stockkit(workbook, *INSTALL)
    done = stockkit(workbook, *INSTALL[:5], "systemd", "--install")
    assert done.returncode == 0, done.stderr
    assert b"stockkit" not in crontab_of(home)
    (timer,) = (home / "config").rglob("*.timer")
    assert f"--user restart {timer.name}" in systemctl.read_text()
    assert "(systemd)" in stockkit(workbook, "schedule", "--list").stdout
    assert "removed from systemd" in stockkit(workbook, "schedule", "params/own.yaml", "--remove").stdout
    assert not list((home / "config").rglob("stockkit-*"))


def test_a_timer_that_systemd_refuses_is_taken_away_and_shown(home, workbook, systemctl):
    Path(f"{systemctl}.refuses").touch()
    done = stockkit(workbook, *INSTALL[:5], "systemd", "--install")
    assert done.returncode == 2
    assert "Failed to connect to bus" in done.stderr
    assert "OnCalendar=" in done.stdout
    assert not list((home / "config").rglob("stockkit-*"))


def test_cron_is_what_is_used_where_it_is_there_and_systemd_where_it_alone_answers(home, systemctl):
    assert installation.usual_kind() == "cron"
    (home / "programs" / "crontab").unlink()
    assert installation.usual_kind() == "systemd"


def test_a_schedule_whose_file_is_gone_is_listed_with_the_reason_and_can_be_removed(home, workbook):
    stockkit(workbook, *INSTALL)
    (workbook / "params" / "own.yaml").unlink()
    assert "cannot run: cannot read the parameters file" in stockkit(workbook, "schedule", "--list").stdout
    assert stockkit(workbook, "schedule", "params/own.yaml", "--remove").returncode == 0
    assert shlex.split(crontab_of(home).decode()) == []
