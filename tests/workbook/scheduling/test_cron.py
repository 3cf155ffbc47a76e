"""The lines for cron: they reach the program as they are meant, and nobody else's line is touched."""

from __future__ import annotations

import shlex
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockkit.errors import ParamError, RunError
from stockkit.workbook.scheduling import cron
from stockkit.workbook.scheduling.entry import Entry

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
THEIRS = b"MAILTO=me@example.org\n# mine\n0 5 * * 1 tar -zcf /b/home.tgz /home/  # 100\\%\n\xff\xfe odd bytes\n"


def entry(params="/work book/params/sample.yaml", words=(), **more):
    values = {"log": "/l", "path": "/usr/bin:/bin", "program": ("/venv/bin/stockkit",)} | more
    return Entry(params, "close+30m", "", tuple(words), **values)


def command_of(text):
    """What cron hands to the shell: a line's command up to the first % that is not escaped, with \\% as %."""
    line = text.splitlines()[2]
    command = line.split(" ", 5)[5]
    kept, escaped = "", False
    for sign in command:
        if sign == "%" and not escaped:
            break
        kept = kept[:-1] + "%" if sign == "%" else kept + sign
        escaped = sign == "\\"
    return kept


@given(words=st.lists(PRINTABLE, max_size=4), params=PRINTABLE)
def test_every_word_reaches_the_program_as_it_is(words, params):
    made = entry(f"/{params}", words)
    text = cron.block(made, [30])
    assert len(text.encode().split(b"\n")) == 5
    assert shlex.split(command_of(text)) == ["/usr/bin/env", "PATH=/usr/bin:/bin", *made.command]


def test_a_real_shell_gives_the_program_blanks_quotes_percent_signs_and_dollars(tmp_path):
    shows = (sys.executable, "-c", "import sys, os; print(sys.argv[1:], os.environ['PATH'])")
    made = entry('/a b/it\'s 100% "$HOME"\\.yaml', ["-p", "symbols=[BRK.B, 50%]"], program=shows, path="/x y/bin")
    done = subprocess.run(["/bin/sh", "-c", command_of(cron.block(made, [5]))], capture_output=True, text=True)
    assert done.stdout == f"{made.command[3:]} /x y/bin\n"


def test_a_line_fires_each_hour_so_that_no_change_of_clocks_leaves_it_out():
    assert cron.block(entry(), [0, 30]).splitlines()[2].startswith("0,30 * * * * /usr/bin/env PATH=")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (entry("/a\nb.yaml"), "control character"),
        (entry("/a\udcff.yaml"), "no UTF-8"),
        (entry(path=":".join(["/a/long/folder"] * 99)), "shorten PATH"),
    ],
)
def test_what_stands_in_no_line_is_refused(made, says):
    with pytest.raises(ParamError, match=says):
        cron.block(made, [30])


@settings(max_examples=50)
@given(before=st.binary(max_size=40), after=st.binary(max_size=40))
def test_the_lines_of_others_stay_byte_for_byte(before, after):
    made, before, after = entry(), before.strip(b"#\n") + b"\n", after.strip(b"#")
    text = cron.block(made, [30])
    crontab = cron.with_block(before, made.name, text) + after
    assert crontab == before + text.encode() + after
    assert cron.with_block(crontab, made.name, text) == crontab
    newer = cron.block(entry(words=["--until", "03_features"]), [15])
    assert cron.with_block(crontab, made.name, newer) == before + newer.encode() + after
    assert cron.without(crontab, made.name) == before + after


def test_two_schedules_stand_side_by_side_and_one_goes_without_the_other():
    one, two = entry(), entry("/other.yaml", ["--only", "01_ingest"])
    crontab = cron.with_block(cron.with_block(THEIRS, one.name, cron.block(one, [30])), two.name, cron.block(two, [0]))
    assert [(fires.params, fires.words, fires.at) for fires in cron.installed(crontab)] == [
        (one.params, one.words, one.at),
        (two.params, two.words, two.at),
    ]
    assert cron.without(cron.without(crontab, one.name), two.name) == THEIRS


def test_a_crontab_whose_last_line_has_no_end_gets_one():
    assert cron.with_block(b"@daily x", "stockkit-a", "# block\n") == b"@daily x\n# block\n"


def test_a_block_that_lost_its_end_is_left_alone_and_named():
    crontab = THEIRS + cron.block(entry(), [30]).encode().rpartition(b"# <<<")[0] + THEIRS
    for change in (lambda: cron.without(crontab, entry().name), lambda: cron.with_block(crontab, "x", "y")):
        with pytest.raises(RunError, match="without its other end: nothing was changed"):
            change()
