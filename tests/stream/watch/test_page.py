"""The page in Chromium, beside a stream that runs in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stockkit.stream.store import Store
from tests.conftest import make_workbook
from tests.stream.watch.browser import browser
from tests.stream.watch.test_feed import Stream

STREAM = """
import sys
from stockkit.stream import setup
symbols = ["AAPL", "META", "NFLX"]
setup.run(setup.Parameters(symbols=symbols, day="2023-09-21", speed=600, alerts=[], state=sys.argv[1]))
"""
HOSTILE = "a <img src=x onerror=document.title='hit'> & b.sqlite"


@contextmanager
def watching(folder: Path, store: Path, port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`stockkit stream watch` in a process of its own, and its port."""
    command = [sys.executable, "-m", "stockkit.cli", "stream", "watch", "--port", str(port), "--state", str(store)]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as run:
        try:
            yield run, int(run.stdout.readline().rpartition("127.0.0.1:")[2].split("/")[0])
        finally:
            run.kill()


def standing(words: str) -> str:
    return f"document.getElementById('standing')?.textContent === {words!r}"


def test_the_page_shows_a_stream_while_it_runs_and_says_when_it_does_not(tmp_path):
    workbook, store = make_workbook(tmp_path), tmp_path / HOSTILE
    with browser(tmp_path / "profile") as page:
        with watching(workbook, store) as (run, port):
            page.open(f"http://127.0.0.1:{port}/")
            page.until(standing("Not running, or not readable."))
            assert HOSTILE in page.text("#detail")
            assert page.value("document.querySelectorAll('img').length") == 0

            old = Stream(store)  # a stream of long ago
            old.take("OLD", 3, 2, 1, 4, now=time.time_ns() // 1_000 - 5 * 86_400_000_000)
            page.until(standing("No ticks are coming in."))
            assert "5 days ago: nothing is sent, or the stream is not running." in page.text("#detail")
            assert page.text("#rows th") == "OLD"
            assert page.text("#signals td") == "▲ buy"

            command = [sys.executable, "-c", STREAM, str(store)]
            with subprocess.Popen(command, cwd=workbook) as stream:
                page.until(standing("Ticks are coming in."))
                page.until("document.querySelectorAll('#rows tr').length === 4")
                page.until(
                    "[...document.querySelectorAll('#rows polyline')].filter(l => l.points.length > 5).length === 3"
                )
                stream.kill()
            quotes = json.dumps([[quote.symbol, quote.price] for quote in Store(store).quotes()], separators=(",", ":"))
            heads = "[...document.querySelectorAll('#rows th')].map(head => head.textContent)"
            page.until(f"JSON.stringify({heads}.map(symbol => [symbol, rows.get(symbol).data.price])) === '{quotes}'")
            assert page.value("[...rows.values()].every(p => p.price.textContent === price(p.data.price))")
            asked = page.value("performance.getEntriesByType('resource').map(entry => entry.name)")
            assert {address.removeprefix(f"http://127.0.0.1:{port}/") for address in asked} <= {"events"}

            run.send_signal(signal.SIGTERM)
            assert run.wait(30) == 0
            page.until(standing("No connection to the server of this page."))
        with watching(workbook, store, port):
            page.until("connected")
        assert page.value("document.title") == "stockkit stream"


def test_the_page_fits_a_telephone_and_can_be_read_in_the_dark(tmp_path):
    stream = Stream(tmp_path / "s.sqlite")
    stream.take_all([(symbol, price) for price in (3, 2, 1, 4) for symbol in ("META", "EURUSD=X", "BRK.B")])
    contrast = """(() => {
        const light = colour => { const [r, g, b] = colour.match(/[\\d.]+/g).map(v => v / 255)
            .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b };
        const paper = light(getComputedStyle(document.body).backgroundColor);
        return Math.min(...[...document.querySelectorAll('h1, dt, dd, th, td, .note')].map(element => {
            const ink = light(getComputedStyle(element).color);
            return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05) })) })()"""
    with watching(tmp_path, stream.store.path) as (_, port), browser(tmp_path / "profile") as page:
        page.open(f"http://127.0.0.1:{port}/")
        page.until("document.querySelectorAll('#rows tr').length === 3")
        papers = set()
        for scheme in ("light", "dark"):
            page.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            papers.add(page.value("getComputedStyle(document.body).backgroundColor"))
            assert page.value(contrast) > 4.5
        assert len(papers) == 2
        page.ask("Emulation.setDeviceMetricsOverride", width=360, height=800, deviceScaleFactor=1, mobile=True)
        assert page.value("document.documentElement.scrollWidth") == 360
        named = "document.getElementById(table.getAttribute('aria-labelledby'))"
        assert page.value(f"[...document.querySelectorAll('table')].every(table => {named})")
        assert page.value("[...document.querySelectorAll('svg')].every(s => s.getAttribute('aria-label'))")
