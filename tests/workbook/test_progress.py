from __future__ import annotations

import io

import pytest
from rich.console import Console

from stockkit.workbook.progress import Lines, Live


@pytest.mark.parametrize(("status", "mark"), [("succeeded", "✓"), ("failed", "✗")])
def test_a_terminal_shows_the_cell_under_way_and_keeps_a_line_a_notebook(status, mark):
    out = io.StringIO()
    shown = Live(console=Console(file=out, force_terminal=True, width=100))
    shown.start(["01_ingest", "02_query"])
    shown.step("01_ingest")
    shown.cell("01_ingest", 3, 20)
    shown.done("01_ingest", status, 4.25)
    assert "[1/2] 01_ingest          cell" in out.getvalue()
    assert "3/20" in out.getvalue()
    *_, last = out.getvalue().splitlines()
    assert last.endswith(f"[1/2] 01_ingest          {status:<10}   4.2 s")
    assert mark in last


def test_elsewhere_there_is_a_plain_line_a_notebook():
    out = io.StringIO()
    shown = Lines(out)
    shown.start(["01_ingest", "02_query"])
    shown.step("01_ingest")
    shown.cell("01_ingest", 3, 20)
    shown.done("01_ingest", "succeeded", 4.25)
    assert out.getvalue() == "[1/2] 01_ingest          succeeded    4.2 s\n"
