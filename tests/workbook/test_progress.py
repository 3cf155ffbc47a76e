"""What a run shows: live lines no wider than a terminal, plain lines, or JSON; and that it can do a run no harm."""

from __future__ import annotations

import io
import json
import threading

import pytest
from rich.console import Console

from stockkit.errors import ParamError
from stockkit.workbook import progress
from stockkit.workbook.execution.redactions import Redaction
from stockkit.workbook.progress import Events, Lines, Live
from stockkit.workbook.progress.guarded import Guarded
from stockkit.workbook.progress.live import console

NAMES = ["01_ingest", "02_query", "03_features"]
ODD = 'a "text"\nof two lines, \x1b[31m, half a pair \ud800 and ∞'


def live(width: int = 100, **how) -> tuple[Live, io.StringIO]:
    out = io.StringIO()
    shown = Live(console=Console(file=out, force_terminal=True, width=width, **how))
    shown.start(NAMES, "20261121T070102Z")
    return shown, out


def lines_of(shown: Live, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize(("status", "mark"), [("succeeded", "✓"), ("failed", "✗"), ("stopped", "✗")])
def test_a_terminal_keeps_a_line_a_notebook_that_has_ended(status, mark):
    shown, out = live()
    shown.step("01_ingest")
    shown.done("01_ingest", status, 4.25)
    shown.end(status, 4.25, "")
    ended = next(line for line in out.getvalue().splitlines() if status in line)
    assert f"[1/3] 01_ingest          {status:<10}   4.2 s" in ended
    assert mark in ended


def test_notebooks_side_by_side_have_a_line_each_with_cell_and_what_it_tells():
    shown, _ = live()
    shown.step("02_query")
    shown.step("03_features")
    shown.cell("03_features", 9, 20)
    shown.within("03_features", "31 of 78 fits, AAPL")
    query, features = lines_of(shown, 100)
    assert query.startswith("  [2/3] 02_query           starting · 0:0")
    assert features.startswith("  [3/3] 03_features        cell 9 of 20 · 0:0")
    assert features.endswith(" · 31 of 78 fits, AAPL")
    shown.cell("03_features", 10, 20)
    assert "fits" not in lines_of(shown, 100)[1]
    shown.end("failed", 1.0, "")


@pytest.mark.parametrize("width", [200, 40, 12])
def test_no_live_line_is_wider_than_the_terminal(width):
    shown, _ = live()
    for name in NAMES:
        shown.step(name)
        shown.within(name, "a long text " * 30)
    lines = lines_of(shown, width)
    assert len(lines) == 3
    assert max(map(len, lines)) <= width
    shown.end("failed", 1.0, "")


def test_without_colours_there_are_none_and_without_such_letters_plain_ones(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown, out = live()
    shown.step("01_ingest")
    shown.done("01_ingest", "failed", 1.0)
    shown.end("failed", 1.0, "")
    assert "\x1b[31m" not in out.getvalue()


@pytest.mark.parametrize(("log", "term", "kind"), [("auto", "xterm", Live), ("auto", "dumb", Lines),
                                                   ("lines", "xterm", Lines), ("json", "xterm", Events)])  # fmt: skip
def test_what_the_terminal_can_do_and_log_choose_the_display(log, term, kind, monkeypatch):
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr("sys.stderr", type("Terminal", (io.StringIO,), {"isatty": lambda self: True})())
    assert type(progress.for_log(log)) is kind
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert type(progress.for_log("auto")) is Lines


def test_another_kind_of_log_is_refused_with_the_nearest():
    with pytest.raises(ParamError, match=r"--log must be auto, lines or json, found 'jason'\. Did you mean 'json'\?"):
        progress.for_log("jason")


def test_elsewhere_there_is_a_plain_line_a_notebook():
    out = io.StringIO()
    shown = Lines(out)
    shown.start(NAMES, "20261121T070102Z")
    shown.step("01_ingest")
    shown.cell("01_ingest", 3, 20)
    shown.within("01_ingest", "3 of 6 symbols")
    shown.done("01_ingest", "succeeded", 4.25)
    shown.kept("02_query", "nothing that it read has changed")
    shown.end("succeeded", 4.3, "")
    assert out.getvalue().splitlines() == [
        "[1/3] 01_ingest          succeeded    4.2 s",
        "[2/3] 02_query           kept: nothing that it read has changed",
    ]


def test_events_are_one_json_object_a_line_with_what_they_are_about():
    out, now = io.StringIO(), [0.0]
    shown = Events(out, lambda: now[0])
    shown.start(NAMES, "20261121T070102Z")
    shown.step("01_ingest")
    shown.cell("01_ingest", 9, 20)
    for second in (0.0, 0.4, 1.0):
        now[0] = second
        shown.within("01_ingest", f"{second}")
    shown.kept("02_query", "as before")
    shown.done("01_ingest", "failed", 1.5)
    shown.say(ODD)
    shown.end("failed", 2.0, "01_ingest: it is so")
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["event"] for event in events] == [
        "run", "step", "cell", "within", "within", "kept", "done", "say", "end"
    ]  # fmt: skip
    assert all(event["run"] == "20261121T070102Z" and event["time"].endswith("Z") for event in events)
    assert {event["event"] for event in events} < {*progress.EVENTS}
    assert events[4].items() >= {"step": "01_ingest", "cell": 9, "cells": 20, "text": "1.0"}.items()
    assert events[6].items() >= {"status": "failed", "seconds": 1.5}.items()
    assert events[7]["text"] == ODD


def reports(shown: Guarded) -> None:
    shown.start(NAMES, "20261121T070102Z")
    shown.step("01_ingest")
    shown.cell("01_ingest", 1, 2)
    shown.within("01_ingest", "a\nb")
    shown.say("it goes on")
    shown.done("01_ingest", "succeeded", 1.0)
    shown.end("succeeded", 1.0, "")


class Gone(io.StringIO):
    """A terminal that is closed after some writes."""

    def __init__(self, error: Exception, after: int) -> None:
        super().__init__()
        self.error, self.left = error, after

    def write(self, text: str) -> int:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().write(text)


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "Input/output error"), ValueError("closed file")])
@pytest.mark.parametrize("after", [0, 2, 5])
@pytest.mark.parametrize("kind", [Lines, Events, Live])
def test_a_terminal_that_is_gone_breaks_nothing_and_ends_every_thread(kind, error, after):
    out = Gone(error, after)
    shown = Live(console=console(file=out, force_terminal=True)) if kind is Live else kind(out)
    reports(Guarded(shown, Redaction()))
    for thread in [thread for thread in threading.enumerate() if thread.name == "progress"]:
        thread.join(20)
        assert not thread.is_alive()


def test_secrets_are_struck_out_of_whatever_is_told():
    out = io.StringIO()
    shown = Guarded(Events(out), Redaction(["s3cretvalue"]))
    shown.start(NAMES, "r")
    shown.say("asked with s3cretvalue")
    shown.within("01_ingest", "s3cretvalue of 6")
    shown.kept("02_query", "key s3cretvalue")
    shown.end("failed", 1.0, "HTTP 403 s3cretvalue")
    assert "s3cretvalue" not in out.getvalue()
    assert out.getvalue().count("\n") == 5


def test_a_text_of_a_cell_is_one_line():
    out = io.StringIO()
    Guarded(Events(out), Redaction()).within("01_ingest", "a\n  b" + "x" * 5_000)
    text = json.loads(out.getvalue())["text"]
    assert text.startswith("a b")
    assert len(text) <= 2_000
