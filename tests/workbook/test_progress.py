from __future__ import annotations

import io

import pytest
from rich.console import Console

from stockkit.workbook.progress import Lines, Live


@pytest.mark.parametrize(("status", "mark"), [("succeeded", "✓"), ("failed", "✗")])
def test_a_terminal_shows_the_cell_under_way_and_keeps_a_line_a_notebook(status, mark):
    out = io.StringIO()
    shown = Live(Console(file=out, force_terminal=True, width=100))
    shown.step("01_ingest", 1, 6)
    shown.cell(3, 20)
    shown.done(status, 4.25)
    assert "[1/6] 01_ingest          cell" in out.getvalue()
    assert "3/20" in out.getvalue()
    *_, last = out.getvalue().splitlines()
    assert last.endswith(f"[1/6] 01_ingest          {status:<10}   4.2 s")
    assert mark in last


def test_elsewhere_there_is_a_plain_line_a_notebook():
    out = io.StringIO()
    shown = Lines(out)
    shown.step("01_ingest", 1, 6)
    shown.cell(3, 20)
    shown.done("succeeded", 4.25)
    assert out.getvalue() == "[1/6] 01_ingest          succeeded    4.2 s\n"
