from __future__ import annotations

import pandas as pd
import pytest

from stockkit.errors import LakeError, SymbolError
from stockkit.lake import raw

MONDAY, TUESDAY = pd.Timestamp("2023-09-18", tz="UTC"), pd.Timestamp("2023-09-19", tz="UTC")


def files(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_an_answer_is_kept_byte_for_byte_under_its_source_symbol_and_time(tmp_path):
    kept = raw.keep(tmp_path, "sample", "BRK.B", b"a,b\r\n\xff", MONDAY)
    assert files(tmp_path) == [kept.file]
    assert kept.file.startswith("raw/source=sample/symbol=BRK.B/20230918T000000Z-")
    assert (tmp_path / kept.file).read_bytes() == b"a,b\r\n\xff"


def test_an_equal_answer_is_not_stored_twice_and_keeps_its_first_time(tmp_path):
    raw.keep(tmp_path, "s", "A", b"one", MONDAY)
    assert raw.keep(tmp_path, "s", "A", b"one", TUESDAY).fetched_at == MONDAY
    assert len(files(tmp_path)) == 1


def test_a_changed_answer_is_added_and_the_old_one_stays(tmp_path):
    for body, time in [(b"one", MONDAY), (b"two", TUESDAY)]:
        raw.keep(tmp_path, "s", "A", body, time)
    assert len(files(tmp_path)) == 2
    assert raw.latest(tmp_path, "s", "A").body == b"two"


def test_a_hostile_symbol_never_becomes_a_path(tmp_path):
    with pytest.raises(SymbolError):
        raw.keep(tmp_path, "s", "../../x", b"", MONDAY)
    assert files(tmp_path) == []


def test_what_cannot_be_written_is_an_error_that_names_the_way_out(tmp_path):
    (tmp_path / "raw").write_text("a file where the folder should be")
    with pytest.raises(LakeError, match="name another lake"):
        raw.keep(tmp_path, "s", "A", b"one", MONDAY)


def test_a_part_left_by_a_killed_writer_is_no_answer(tmp_path):
    kept = raw.keep(tmp_path, "s", "A", b"one", MONDAY)
    (tmp_path / kept.file).with_name(".20230919T000000Z-abc.csv.1.part").write_bytes(b"tw")
    assert raw.latest(tmp_path, "s", "A").body == b"one"
