"""The units for systemd, held against systemd's own reading of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pandas as pd
import pytest

from stockkit.errors import ParamError
from stockkit.workbook.scheduling import systemd, timetable
from stockkit.workbook.scheduling.entry import Entry
from tests.conftest import require

WORDS = ("-p", "symbols=[BRK.B, 50%]", 'it\'s "$HOME" \\ 100%')


def units_of(root, words=WORDS, program=("/bin/echo",), times=("13:30", "16:30"), zone="America/New_York"):
    made = Entry(f"{root}/params/a b%.yaml", "close+30m", "", words, f"{root}/log", "", "/usr/bin:/bin", program)
    return made, systemd.units(made, zone, times, root)


def test_systemd_takes_both_units_without_a_warning(tmp_path):
    require("systemd-analyze")
    (root := tmp_path / "my 100% book").mkdir()
    _, units = units_of(root)
    paths = [tmp_path / name for name in units]
    for path, text in zip(paths, units.values(), strict=True):
        path.write_text(text)
    command = ["systemd-analyze", "--user", "verify", *map(str, paths)]
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "stockkit" in line]) == (0, [])


@pytest.mark.parametrize("calendar", ["XNYS", "XLON", "XSAU", "24/7"])
def test_systemd_fires_at_the_moment_at_which_the_next_run_is_due(calendar):
    require("systemd-analyze")
    base = pd.Timestamp("2026-03-05 23:59", tz="UTC")
    table = timetable.timetable(calendar, timetable.parse("close+30m"), base)
    _, units = units_of(Path("/b"), times=table.times(base), zone=table.zone)
    timer = next(text for name, text in units.items() if name.endswith(".timer"))
    expressions = [line.partition("=")[2] for line in timer.splitlines() if line.startswith("OnCalendar=")]
    command = ["systemd-analyze", "calendar", "--iterations=45", f"--base-time={base:%Y-%m-%d %H:%M:%S} UTC"]
    environment = {"TZ": "UTC", "PATH": "/usr/bin:/bin"}
    shown = subprocess.run([*command, *expressions], capture_output=True, text=True, check=True, env=environment)
    fires = [line.partition(": ")[2] for line in shown.stdout.splitlines() if line.endswith("UTC")]
    fires = {pd.Timestamp(" ".join(fire.split()[1:3]), tz="UTC") for fire in fires if fire[:3].isalpha()}
    due = [moment for _, moment in table.after(base, 13)]
    assert len(fires) == 45 * len(expressions)
    assert set(due) <= fires  # over a change of clocks: New York's is on 8 March


def test_an_entry_is_read_back_from_its_timer():
    made, units = units_of(Path("/b"))
    read = systemd.installed(units[f"{made.name}.timer"])
    assert (read.params, read.words, read.at, read.name) == (made.params, made.words, made.at, made.name)
    assert systemd.installed("[Timer]\nOnCalendar=daily\n") is None
    assert systemd.installed(f"{systemd.MARK}broken\n") is None


@pytest.mark.parametrize("root", ["relative", "/ends in a blank ", "/a\nb", "/ends in a \\"])
def test_a_folder_that_systemd_takes_not_is_refused(root):
    with pytest.raises(ParamError):
        units_of(Path(root))
