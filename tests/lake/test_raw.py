from __future__ import annotations

import hashlib
import subprocess
import sys

import pandas as pd
import pytest

from stockkit.errors import LakeError, SymbolError
from stockkit.files import Folder
from stockkit.lake import raw
from stockkit.lake.catalogue import crawl
from tests import raw_answers

MONDAY, TUESDAY = pd.Timestamp("2023-09-18", tz="UTC"), pd.Timestamp("2023-09-19", tz="UTC")


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_an_answer_is_kept_byte_for_byte_under_its_source_symbol_and_time(tmp_path):
    kept = raw_answers.keep(Folder(tmp_path), "sample", "BRK.B", b"a,b\r\n\xff", MONDAY)
    assert files(tmp_path) == [kept.file]
    assert kept.file.startswith("raw/source=sample/symbol=BRK.B/20230918T000000Z-")
    assert (tmp_path / kept.file).read_bytes() == b"a,b\r\n\xff"


def test_an_equal_answer_is_not_stored_twice_and_keeps_its_first_time(tmp_path):
    raw_answers.keep(Folder(tmp_path), "s", "A", b"one", MONDAY)
    assert raw_answers.keep(Folder(tmp_path), "s", "A", b"one", TUESDAY).fetched_at == MONDAY
    assert len(files(tmp_path)) == 1


def test_a_changed_answer_is_added_and_the_old_one_stays(tmp_path):
    for body, time in [(b"one", MONDAY), (b"two", TUESDAY)]:
        raw_answers.keep(Folder(tmp_path), "s", "A", body, time)
    assert len(files(tmp_path)) == 2
    assert bodies(tmp_path)[-1] == b"two"


def test_a_hostile_symbol_never_becomes_a_path(tmp_path):
    with pytest.raises(SymbolError):
        raw_answers.keep(Folder(tmp_path), "s", "../../x", b"", MONDAY)
    assert files(tmp_path) == []


def test_what_cannot_be_written_is_an_error_that_names_the_way_out(tmp_path):
    (tmp_path / "raw").write_text("a file where the folder should be")
    with pytest.raises(LakeError, match="name another lake"):
        raw_answers.keep(Folder(tmp_path), "s", "A", b"one", MONDAY)


def test_a_part_left_by_a_killed_writer_is_no_answer(tmp_path):
    kept = raw_answers.keep(Folder(tmp_path), "s", "A", b"one", MONDAY)
    (tmp_path / kept.file).with_name(".20230919T000000Z-abc.csv.1.part").write_bytes(b"tw")
    assert bodies(tmp_path)[-1] == b"one"


SECOND = pd.Timedelta("1s")


def bodies(root, **how):
    return [answer.body for answer in raw.read(Folder(root), "s", "A", **how).answers]


def test_answers_of_the_same_second_count_in_the_order_of_their_arrival(tmp_path):
    sent = [f"answer {k}".encode() for k in (3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 1)]
    for body in sent:
        raw_answers.keep(Folder(tmp_path), "s", "A", body, MONDAY)
    assert bodies(tmp_path) == sent
    assert bodies(tmp_path)[-1] == sent[-1]


def test_an_answer_that_comes_back_after_another_one_in_the_same_second_is_the_newest(tmp_path):
    for body in (b"one", b"two", b"one"):
        raw_answers.keep(Folder(tmp_path), "s", "A", body, MONDAY)
    assert bodies(tmp_path) == [b"one", b"two", b"one"]


def test_after_a_clock_was_set_back_the_later_answer_still_counts_and_it_is_said(tmp_path, caplog):
    raw_answers.keep(Folder(tmp_path), "s", "A", b"old", TUESDAY)
    kept = raw_answers.keep(Folder(tmp_path), "s", "A", b"new", MONDAY)
    assert "clock_set_back" in caplog.text
    holding = raw.read(Folder(tmp_path), "s", "A")
    assert [answer.body for answer in holding.answers] == [b"old", b"new"]
    assert [(fault.problem, fault.file) for fault in holding.faults] == [(raw.SET_BACK, kept.file)]
    assert holding.answers[1].fetched_at == MONDAY
    assert holding.answers[1].since == TUESDAY, "nothing is known before what arrived earlier"
    assert bodies(tmp_path, until=TUESDAY) == []
    raw_answers.keep(Folder(tmp_path), "s", "A", b"right again", TUESDAY + SECOND)
    assert raw.read(Folder(tmp_path), "s", "A").faults == []


def test_answers_that_earlier_versions_kept_come_first_and_stay_as_they_are(tmp_path):
    old = {b"first": MONDAY, b"second": TUESDAY}
    folder = tmp_path / "raw/source=s/symbol=A"
    folder.mkdir(parents=True)
    for body, moment in old.items():
        name = f"{moment.strftime(raw.STAMP)}-{hashlib.sha256(body).hexdigest()[:12]}.csv"
        (folder / name).write_bytes(body)
    before = files(tmp_path)
    assert raw_answers.keep(Folder(tmp_path), "s", "A", b"second", TUESDAY + SECOND).fetched_at == TUESDAY
    raw_answers.keep(Folder(tmp_path), "s", "A", b"third", TUESDAY)
    assert bodies(tmp_path) == [b"first", b"second", b"third"]
    assert set(before) < set(files(tmp_path))


def test_two_processes_at_once_lose_nothing_and_keep_their_order_though_one_is_killed(tmp_path):
    code = (
        "import sys, pandas as pd; from pathlib import Path; from stockkit.files import Folder\n"
        "from tests import raw_answers\n"
        "for k in range(int(sys.argv[3])):\n"
        "    body = f'{sys.argv[2]} {k}'.encode()\n"
        "    raw_answers.keep(Folder(Path(sys.argv[1])), 's', 'A', body, pd.Timestamp(0, tz='UTC'))\n"
        "    print(k, flush=True)\n"
    )
    words = [[name, count] for name, count in (("x", "12"), ("y", "12"), ("z", "100000"))]
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), *word], stdout=subprocess.PIPE) for word in words
    ]
    for _ in range(5):
        writers[2].stdout.readline()
    writers[2].kill()
    sent = int((writers[2].communicate()[0].split() or [b"4"])[-1])
    assert [writer.wait() for writer in writers[:2]] == [0, 0]
    writers[0].stdout.close(), writers[1].stdout.close()
    answers = bodies(tmp_path)
    assert raw.read(Folder(tmp_path), "s", "A").faults == []
    for name, count in (("x", 12), ("y", 12), ("z", sent + 1)):
        of_writer = [body for body in answers if body.startswith(name.encode())]
        assert of_writer[:count] == [f"{name} {k}".encode() for k in range(count)]


@pytest.mark.parametrize("harm", [lambda body: body[: len(body) // 2], lambda body: body[:-1] + b"7", lambda _: b""])
def test_a_file_that_was_changed_is_not_used_and_named(tmp_path, harm):
    for body in (b"one", b"two two two"):
        kept = raw_answers.keep(Folder(tmp_path), "s", "A", body, MONDAY)
    (tmp_path / kept.file).write_bytes(harm(b"two two two"))
    holding = raw.read(Folder(tmp_path), "s", "A")
    assert [answer.body for answer in holding.answers] == [b"one"]
    assert holding.damaged == [kept.file]
    assert "its name says" in holding.faults[0].detail
    raw_answers.keep(Folder(tmp_path), "s", "A", b"two two two", TUESDAY)
    assert bodies(tmp_path) == [b"one", b"two two two"]


def test_a_foreign_file_is_a_line_and_no_answer(tmp_path):
    kept = raw_answers.keep(Folder(tmp_path), "s", "A", b"one", MONDAY)
    raw_answers.keep(Folder(tmp_path), "s", None, b"x", MONDAY)
    foreign = ["raw/source=s/symbol=A/notes.csv", "raw/source=s/symbol=A/20239999T000000Z-0123456789ab.csv",
               "raw/source=s/symbol=A/20230918T000000Z.csv.bak", "raw/readme.txt", "raw/source=s/A.csv",
               "actions/source=s/actions.csv", "raw/source=s/symbol=a b/x.csv"]  # fmt: skip
    for name in foreign:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [answer.file for answer in raw.read(Folder(tmp_path), "s", "A").answers] == [kept.file]
    faults = list(raw.verify(Folder(tmp_path)))
    assert {fault.problem for fault in faults} == {raw.FOREIGN}
    assert {fault.file for fault in faults} == {*foreign[:-1], "raw/source=s/symbol=a b"}
    assert raw.holdings(Folder(tmp_path)) == {"s": ["A"]}


def test_a_crawl_takes_its_columns_from_the_newest_answer_and_no_foreign_file(tmp_path):
    raw_answers.keep(Folder(tmp_path), "s", "A", b"date,close\n", TUESDAY)
    raw_answers.keep(Folder(tmp_path), "s", "A", b"date,close,volume\n", MONDAY)
    for name in ("raw/source=s/symbol=A/zzz.csv", "raw/notes/todo/x.csv", "raw/source=s/symbol=a b/x.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("other,columns\n")
    assert crawl.discover(Folder(tmp_path)) == {("s", "A"): ["date", "close", "volume"]}


def test_an_answer_kept_on_top_of_what_was_read_is_as_if_it_were_read_again(tmp_path):
    holding = raw.Holding()
    for body, moment in [(b"a", MONDAY), (b"a", TUESDAY), (b"b", TUESDAY), (b"c", MONDAY), (b"d", TUESDAY + SECOND)]:
        holding = raw.extend(holding, Folder(tmp_path), "s", "A", body, moment)
        assert holding == raw.read(Folder(tmp_path), "s", "A")
    newest = tmp_path / holding.answers[-1].file
    newest.write_bytes(b"cut")
    (newest.parent / "foreign.txt").touch()
    holding = raw.extend(raw.read(Folder(tmp_path), "s", "A"), Folder(tmp_path), "s", "A", b"d", TUESDAY + SECOND)
    assert holding == raw.read(Folder(tmp_path), "s", "A")
    assert len(holding.kept) == 5
    assert {fault.problem for fault in holding.faults} == {raw.DAMAGED, raw.FOREIGN}
