"""The report's pages: self-contained, honest about failure, safe to open, legible at any width."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from nbformat import write
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from stockkit.workbook import report
from stockkit.workbook.execution.outputs import HANDOVER
from stockkit.workbook.pages import cells
from tests.conftest import require

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ATTACK = "<script>alert(1)</script>"
SYMBOLS = ["AAPL", "NVDA"]


def forecast_row(symbol: str, close: float = 173.93) -> dict[str, Any]:
    row: dict[str, Any] = {"symbol": symbol, "as_of": "2023-09-21", "target_session": "2023-09-22", "close": close}
    row |= {"mean": 0.0008, "sigma": 0.018, "price": close * 1.0008}
    for level, reach in ((80, 0.02), (95, 0.04)):
        row |= {f"lo{level}": -reach, f"hi{level}": reach}
        row |= {f"price_lo{level}": close * (1 - reach), f"price_hi{level}": close * (1 + reach)}
    return row


def step(name: str, title: str, status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"name": name, "title": title, "status": status, "seconds": 5.1, "error": None, **more}


def manifest(**changes: Any) -> dict[str, Any]:
    headlines = {
        "as_of": "2023-09-21",
        "known_at": "2026-11-21T00:00:00Z",
        "rows": 16194,
        "symbols": SYMBOLS,
        "last_session": dict.fromkeys(SYMBOLS, "2023-09-21"),
        "missing_symbols": {},
        "rejects": {},
        "gaps": {},
        "forecast": {"model": "drift", "horizon": 1, "rows": [forecast_row(symbol) for symbol in SYMBOLS]},
        "verdict": {"text": "Not distinguishable from the random walk", "detail": "p = 0.62.", "beats": []},
    }
    steps = [
        step("01_ingest", "Can it be trusted?", reads={}, writes={"prices": 4}),
        step("04_model", "Does it beat it?", reads={"prices": 4}, writes={"forecasts": 7}),
        step("05_visualise", "What does it look like?"),
    ]
    run = {"run": "20261121T070102Z", "status": "succeeded", "reason": None, "started_at": "2026-11-21T07:01:02Z"}
    run |= {"seconds": 41.2, "code_version": "0.1.0+gabc1234", "params_file": "params/sample.yaml", "warnings": []}
    parameters = {"symbols": SYMBOLS, "as_of": "latest", "horizon": 1}
    return {**run, "parameters": parameters, "steps": steps, "headlines": headlines, **changes}


def data(kind: str, value: Any, **metadata: Any) -> Any:
    return new_output("display_data", data={kind: value, "text/plain": "<fallback>"}, metadata={kind: metadata})


def ran(source: str, *outputs: Any, count: int | None = 1, tags: tuple[str, ...] = ()) -> Any:
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata={"tags": list(tags)})


def render(folder: Path, *cells: Any, name: str = "04_model", run: dict[str, Any] | None = None) -> str:
    kernel = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    write(new_notebook(cells=list(cells), metadata=kernel), folder / f"{name}.ipynb")
    return report.render_notebook(folder / f"{name}.ipynb", manifest=run or manifest()).read_text("utf-8")


def render_index(folder: Path, run: dict[str, Any]) -> str:
    (folder / "run.json").write_text(json.dumps(run))
    return report.render_index(folder).read_text("utf-8")


def wide_table() -> Any:
    frame = pd.DataFrame([[0.123456] * 40], columns=[f"feature_{k}" for k in range(40)])
    return ran("frame  # " + "a long line of code " * 20, data("text/html", frame._repr_html_()))


def full_page(folder: Path) -> str:
    figure = ran("plot()", data("image/png", PIXEL, alt="The price fell."))
    text = new_markdown_cell(
        "# Is it so?\n\n## Data\n\nProse.\n\n| a | b |\n|---|---|\n| x | 1 |\n\n### Detail\n\n" + "w" * 300
    )
    return render(folder, text, wide_table(), figure, ran("print(1)", new_output("stream", text="1 " * 400)))


def failing_cells() -> list[Any]:
    traceback = ["\x1b[31mKeyError\x1b[39m: 'x'", "Cell In[2], line 1 <module>"]
    error = new_output("error", ename="KeyError", evalue="'x \x1b[1m<b>'", traceback=traceback)
    banner = new_markdown_cell("An Exception was encountered at", metadata={"tags": ["papermill-error-cell-tag"]})
    return [banner, ran("fine = 1"), ran("frame['x']", error, count=2), ran("never", count=None)]


class Attributes(HTMLParser):
    """Collects every tag with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def loads(html: str) -> list[str]:
    """What a page would fetch: sources, style sheets, imports and URLs in style; a link to click on is none."""
    tags = Attributes(html).tags
    fetched = [tag for tag, _ in tags if tag in ("script", "iframe", "object", "embed")]
    fetched += [str(a["src"]) for _, a in tags if not (a.get("src") or "data:").startswith("data:")]
    fetched += [str(a.get("href")) for tag, a in tags if tag == "link" and a.get("href") != "data:,"]
    return fetched + re.findall(r"@import[^;]*|url\([^)]*\)", html)


def test_the_check_for_loads_finds_what_it_should() -> None:
    html = (
        '<script></script><img src="http://x/y.png"><link href="a.css"><style>@import "b.css"; a { b: url(c) }</style>'
    )
    assert len(loads(html)) == 5


def test_no_page_loads_anything(tmp_path: Path) -> None:
    reports = tmp_path / "reports"
    (run := reports / "20261121T070102Z").mkdir(parents=True)
    assert loads(full_page(run)) == []
    assert loads(render_index(run, manifest())) == []
    assert loads(report.render_runs(reports).read_text()) == []


def test_what_comes_from_the_manifest_is_escaped_on_every_page(tmp_path: Path) -> None:
    run = manifest(status="failed", reason=ATTACK, warnings=[ATTACK], code_version=ATTACK, params_file=ATTACK)
    run["parameters"] = {"label": ATTACK, ATTACK: [ATTACK]}
    run["steps"][1] |= {"status": "failed", "title": ATTACK, "error": {"cell": 2, "ename": "E", "evalue": ATTACK}}
    run["headlines"] |= {"missing_symbols": {ATTACK: ATTACK}, "rejects": {ATTACK: 1}, "gaps": {ATTACK: [ATTACK]}}
    run["headlines"] |= {"verdict": {"text": ATTACK, "detail": ATTACK, "beats": [ATTACK]}, "symbols": [ATTACK]}
    run["headlines"]["last_session"] = {ATTACK: "2023-09-20", "AAPL": "2023-09-21"}
    run["headlines"]["forecast"]["rows"][0]["symbol"] = f'"{ATTACK}'
    (folder := tmp_path / "20261121T070102Z").mkdir()
    pages = [render(folder, new_markdown_cell("text"), run=run), render_index(folder, run)]
    for page in [*pages, report.render_runs(tmp_path).read_text()]:
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_the_failed_cell_is_marked_shown_and_linked(tmp_path: Path) -> None:
    page = render(tmp_path, *failing_cells())
    failed = page[page.index('id="failed"') : page.index("</section>", page.index('id="failed"'))]
    assert "This cell failed" in failed
    assert "KeyError: &#x27;x &lt;b&gt;&#x27;" in failed
    assert '<a href="#failed">' in page
    assert "FAILED" in page
    assert "\x1b" not in page
    assert "1 code cell did not run" in page


def test_papermills_own_banners_are_dropped(tmp_path: Path) -> None:
    assert "An Exception was encountered" not in render(tmp_path, *failing_cells())


def test_a_page_with_a_failed_cell_is_red_even_if_the_manifest_says_green(tmp_path: Path) -> None:
    assert "Succeeded" not in render(tmp_path, *failing_cells(), run=manifest())


def test_a_kernel_that_died_is_told_without_a_failed_cell(tmp_path: Path) -> None:
    error = {"cell": None, "ename": "DeadKernelError", "evalue": "Kernel died", "source": ""}
    run = manifest(status="failed", steps=[step("04_model", "Does it?", "failed", error=error)])
    page = render(tmp_path, ran("1"), ran("os._exit(1)", count=None), run=run)
    assert "1 code cell has no result" in page
    assert "DeadKernelError: Kernel died" in page
    assert page.count('id="failed"') == 1


def test_a_promise_broken_after_the_last_cell_fails_the_page(tmp_path: Path) -> None:
    error = {"cell": None, "ename": "RunError", "evalue": "no table was handed over", "source": ""}
    run = manifest(status="failed", steps=[step("04_model", "Does it?", "failed", error=error)])
    page = render(tmp_path, ran("1"), run=run)
    assert "Every cell ran, but the step did not pass" in page
    assert "no table was handed over" in page


def test_a_green_notebook_of_a_red_run_says_so(tmp_path: Path) -> None:
    assert "the run did not" in render(tmp_path, ran("1"), run=manifest(status="failed"))


def test_code_and_parameters_are_folded_behind_one_switch(tmp_path: Path) -> None:
    page = render(tmp_path, ran("symbols = ['AAPL']", tags=("injected-parameters",)), ran("2"))
    assert page.count('type="checkbox"') == 1
    assert page.count('class="code"') == 2
    assert "body:not(:has(#code:checked)) .cell:not(.failure) > .code { display: none; }" in page


def test_a_figure_keeps_its_alt_text_and_one_without_says_so(tmp_path: Path) -> None:
    page = render(
        tmp_path, ran("a", data("image/png", PIXEL, alt='It "fell" <fast>')), ran("b", data("image/png", PIXEL))
    )
    alts = [attributes.get("alt") for tag, attributes in Attributes(page).tags if tag == "img"]
    assert alts == ['It "fell" <fast>', "figure without description"]


def test_a_hand_over_is_hidden_but_its_words_are_shown(tmp_path: Path) -> None:
    silent = new_output("display_data", data={HANDOVER: {"headlines": "machine-only"}, "text/plain": ""})
    spoken = new_output("display_data", data={HANDOVER: "machine-only", "text/html": "<p>two tables</p>"})
    page = render(tmp_path, ran("a", silent), ran("b", spoken))
    assert "machine-only" not in page
    assert "two tables" in page


@pytest.mark.parametrize(
    ("kind", "value"),
    [("application/javascript", "drawn()"), ("application/vnd.jupyter.widget-view+json", {"model_id": "drawn"})],
)
def test_what_only_a_script_could_draw_is_shown_in_words(tmp_path: Path, kind: str, value: Any) -> None:
    output = new_output("display_data", data={kind: value, "text/plain": "in words"})
    page = render(tmp_path, ran("a", output))
    assert "in words" in page
    assert "drawn" not in page


def test_a_frame_loses_its_own_style_and_scrolls_in_a_labelled_box(tmp_path: Path) -> None:
    frame = pd.DataFrame({"name": ["a"], "rate": [-0.5]}, index=["x"])
    page = render(tmp_path, new_markdown_cell("## Rates & more"), ran("frame", data("text/html", frame._repr_html_())))
    assert "scoped" not in page
    assert "border=" not in page
    assert '<div class="scroll" role="region" tabindex="0" aria-label="Table: Rates &amp; more">' in page


@pytest.mark.parametrize(
    ("texts", "numeric"),
    [(["1", "-2.50", "NaN"], True), (["1e-05", "12,000", "3 %"], True), (["2023-09-21"], False), (["NaN"], False)],
)
def test_numbers_stand_right_and_anything_else_left(tmp_path: Path, texts: list[str], numeric: bool) -> None:
    rows = "".join(f"<tr><th>i</th><td>{text}</td></tr>" for text in texts)
    page = render(tmp_path, ran("t", data("text/html", f"<table><tr><th></th><th>c</th></tr>{rows}</table>")))
    cells = [attributes for tag, attributes in Attributes(page).tags if tag in ("td", "th")]
    marked = ["data-num" in attributes for attributes in cells]
    assert marked == [False, numeric] * (1 + len(texts))


def test_dollars_in_prose_are_prices_not_formulas(tmp_path: Path) -> None:
    assert "<strong>$173</strong> or $174 or $5" in render(tmp_path, new_markdown_cell(r"**$173** or $174 or \$5"))


def test_two_headings_of_one_name_have_two_anchors_and_both_are_listed(tmp_path: Path) -> None:
    page = render(tmp_path, new_markdown_cell("# Title\n\n## Result\n\na\n\n## Result\n\nb\n\n### failed"))
    anchors = [attributes["id"] for tag, attributes in Attributes(page).tags if tag in ("h2", "h3")]
    assert anchors == ["Result", "Result-2", "failed-2"]
    assert all(f'<a href="#{anchor}">' in page for anchor in anchors)
    assert page.count("<h1") == 1


def test_standard_error_is_muted_and_a_progress_bar_leaves_its_last_state(tmp_path: Path) -> None:
    stream = new_output("stream", name="stderr", text="10%\r50%\r100%\n")
    assert '<pre class="warning" aria-label="Warning">100%\n</pre>' in render(tmp_path, ran("a", stream))


def test_a_page_links_the_index_and_only_neighbours_that_exist(tmp_path: Path) -> None:
    render(tmp_path, new_markdown_cell("text"), name="01_ingest")
    page = render(tmp_path, new_markdown_cell("text"))
    links = [attributes["href"] for tag, attributes in Attributes(page).tags if tag == "a"]
    assert {"index.html", "01_ingest.html"} <= set(links)
    assert "05_visualise.html" not in links


def test_a_link_to_another_notebook_leads_to_its_page_or_is_just_words(tmp_path: Path) -> None:
    render(tmp_path, new_markdown_cell("# One"), name="01_ingest")
    page = render(tmp_path, new_markdown_cell("# Two\n\n[one](01_ingest.ipynb#top), [none](09_none.ipynb)"))
    assert '<a href="01_ingest.html#top">one</a>' in page
    assert ".ipynb" not in page.split("<main")[-1].replace("run.json", "")
    assert "none" in page


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    (folder := tmp_path / "20261121T070102Z").mkdir()
    once = [full_page(folder), render_index(folder, manifest()), report.render_runs(tmp_path).read_text()]
    again = [full_page(folder), render_index(folder, manifest()), report.render_runs(tmp_path).read_text()]
    assert once == again
    assert not list(tmp_path.rglob("*.part"))


def test_the_index_leads_with_status_then_forecast_then_verdict_then_defects(tmp_path: Path) -> None:
    page = render_index(tmp_path, manifest())
    order = ["Succeeded", "Forecast for the session of 2023-09-22", "Not distinguishable", "Rejected rows", "04_model"]
    assert sorted(order, key=page.index) == order
    assert "None found in 16,194 rows checked" in page
    assert "1,157 days before the run" in page


def test_each_strip_stands_on_the_shared_scale(tmp_path: Path) -> None:
    page = render_index(tmp_path, manifest())
    assert page.count('<svg class="strip"') == len(SYMBOLS)
    assert 'aria-label="AAPL: mean +0.08 %, 80 % interval −2.00 to +2.00 %, 95 % interval −4.00 to +4.00 %' in page
    assert page.count('<line class="p95" x1="3.00%" x2="97.00%"') == len(SYMBOLS)  # the widest interval fills the axis
    assert page.count('<line class="close" x1="50.00%" x2="50.00%"') == len(SYMBOLS)


def test_the_index_of_a_failed_run_names_notebook_cell_and_cause_and_links_it(tmp_path: Path) -> None:
    error = {"cell": 7, "ename": "SourceError", "evalue": "throttled", "source": "x"}
    steps = [step("01_ingest", "Can it?", "failed", error=error), step("04_model", "Does it?", "not run", seconds=0.0)]
    (tmp_path / "01_ingest.ipynb").touch()
    run = manifest(status="failed", reason="01_ingest cell 7: SourceError: throttled", steps=steps)
    page = render_index(tmp_path, run)
    assert "FAILED in 01_ingest, cell [7]." in page
    assert 'href="01_ingest.html#failed"' in page
    assert page.count("throttled") == 1
    assert "04_model.html" not in page


def test_missing_symbols_stand_in_a_box_with_their_reasons(tmp_path: Path) -> None:
    run = manifest(status="failed", reason="Incomplete: MSFT")
    run["headlines"]["missing_symbols"] = {"MSFT": "no such symbol"}
    page = render_index(tmp_path, run)
    assert "Missing or incomplete: MSFT" in page
    assert page.index("no such symbol") < page.index("<main>")


@pytest.mark.parametrize("headlines", [{}, None])
def test_an_index_without_headlines_reports_nothing_as_clean(tmp_path: Path, headlines: dict[str, Any] | None) -> None:
    page = render_index(tmp_path, manifest(status="failed", reason="disk full", headlines=headlines))
    assert "disk full" in page
    assert page.count("Not reported.") == 3
    assert "None found" not in page


def test_a_number_that_is_not_finite_is_a_dash(tmp_path: Path) -> None:
    run = manifest()
    run["headlines"]["forecast"]["rows"][0] |= {"lo95": float("nan"), "price": None, "mean": float("inf")}
    page = render_index(tmp_path, run)
    assert "nan" not in page.split("<main>")[1]
    assert "–<br><small>– %</small>" in page


def test_the_command_spells_out_every_value_and_pins_the_date(tmp_path: Path) -> None:
    page = render_index(tmp_path, manifest())
    command = (
        "stockkit run params/sample.yaml -p &#39;symbols=[&#34;AAPL&#34;, &#34;NVDA&#34;]&#39; -p as_of=2023-09-21"
    )
    assert f"{command} -p horizon=1" in page


@pytest.mark.parametrize(
    "text", [None, "", '{"run": "2026', "[]", '{"status": "failed", "steps": [1]}', '{"status": 1}']
)
def test_an_unreadable_run_is_listed_and_does_not_hide_the_others(tmp_path: Path, text: str | None) -> None:
    for name in ("20261121T070102Z", "20261122T070102Z"):
        (tmp_path / name).mkdir()
    (tmp_path / "20261121T070102Z" / "run.json").write_text(json.dumps(manifest()))
    if text is not None:
        (tmp_path / "20261122T070102Z" / "run.json").write_text(text)
    page = report.render_runs(tmp_path).read_text()
    assert "Unreadable" in page
    assert page.index("20261122T070102Z") < page.index("20261121T070102Z")
    assert "Not distinguishable from the random walk" in page


def test_an_index_without_a_manifest_says_which_file_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"run\.json cannot be read: No such file"):
        report.render_index(tmp_path)


def chromium(folder: Path, page: str) -> str:
    """The document of a page once it has been laid out."""
    flags = "--headless=new --no-sandbox --disable-gpu --disable-background-networking --no-first-run --dump-dom"
    flags += " --virtual-time-budget=2000 --window-size=1400,900 --allow-file-access-from-files"
    words = [require("chromium"), *flags.split(), f"--user-data-dir={folder / 'profile'}", page]
    return subprocess.run(words, capture_output=True, text=True, timeout=300, check=True).stdout


def test_no_page_is_wider_than_the_screen(tmp_path: Path) -> None:
    require("chromium")
    (folder := tmp_path / "20261121T070102Z").mkdir()
    (folder / "code.html").write_text(full_page(folder).replace('id="code"', 'id="code" checked'))
    render_index(folder, manifest(reason="w" * 300, status="failed"))
    render(folder, *failing_cells(), wide_table(), name="01_ingest")
    report.render_runs(tmp_path)
    (tmp_path / "wide.html").write_text('<meta charset="utf-8"><div style="width: 2000px">planted</div>')
    pages = [
        "wide.html",
        "index.html",
        *(f"{folder.name}/{n}.html" for n in ("index", "04_model", "code", "01_ingest")),
    ]
    frames = "".join(f'<iframe src="{page}" width="{w}" height="800"></iframe>' for page in pages for w in (360, 1280))
    measure = "frames[k].document.documentElement.scrollWidth - frames[k].document.documentElement.clientWidth"
    script = f"onload = () => {{ document.title = [...Array(frames.length).keys()].map(k => {measure}) }}"
    (tmp_path / "measure.html").write_text(f"<title></title><script>{script}</script>{frames}")
    title = re.search(r"<title>(.*?)</title>", chromium(tmp_path, (tmp_path / "measure.html").as_uri()))
    assert title is not None
    beyond = [int(pixels) for pixels in title[1].split(",")]
    assert beyond == [1640 + 8, 720 + 8] + [0] * 10  # the planted page is found, the others fit


def test_a_page_asks_the_network_for_nothing_even_if_the_notebook_would(tmp_path: Path) -> None:
    require("chromium")
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = (tmp_path / self.path.strip("/")).read_bytes() if self.path.endswith(".html") else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        beacon = f'<img src="{here}/picture"><script src="{here}/code"></script><style>@import "{here}/style";</style>'
        page = render(tmp_path, new_markdown_cell("text"), ran("a", data("text/html", beacon)))
        (tmp_path / "open.html").write_text(
            re.sub(r'<meta content="default-src[^>]*>|<meta http-equiv[^>]*>', "", page)
        )
        chromium(tmp_path, f"{here}/04_model.html")
        closed = [path for path in asked if path != "/04_model.html"]
        chromium(tmp_path, f"{here}/open.html")
        server.shutdown()
    assert closed == []
    assert {"/picture", "/code", "/style"} <= set(asked)  # without the policy they would have been fetched


def test_a_model_that_has_drifted_and_the_head_of_the_ledger_stand_below_the_verdict(tmp_path: Path) -> None:
    plain = render_index(tmp_path, manifest())
    run = manifest()
    run["headlines"] |= {"drift": ["arima has drifted on META since 2023-05-01"], "ledger_head": "ab" * 32}
    page = render_index(tmp_path, run)
    assert '<div class="box warn"><p>arima has drifted on META since 2023-05-01</p>' in page
    assert f"<code>{'ab' * 32}</code>" in page
    assert "sealed" not in plain


LONG = 100_000  # characters at which a step that is quadratic would take minutes


@pytest.mark.parametrize(
    "piece",
    ["5%\r", "<", "<table", '<h1 id="a">', '<a href="b.ipynb">', "<td", "&", "\x1b["],
)
def test_a_long_line_of_anything_is_rendered(tmp_path: Path, piece: str) -> None:
    text = piece * (LONG // len(piece))
    plain = new_output("display_data", data={"text/plain": text})
    assert "</html>" in render(tmp_path, ran("1", new_output("stream", text=text), data("text/html", text), plain))


def test_a_long_line_of_code_is_shown_without_colours(tmp_path: Path) -> None:
    assert "<pre>" + "*" * 100_000 + "</pre>" in render(tmp_path, ran("*" * 100_000))


def test_a_line_that_is_written_over_keeps_its_last_state() -> None:
    states = {"a\rb": "b", "a\rb\n": "b\n", "a\r\nb": "a\r\nb", "a\rb\r\nc\rd": "b\r\nd", "a\r": "", "\n\r\n": "\n\r\n"}
    assert {text: cells._last_states(text) for text in states} == states


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"status": "failed", "x": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        ('{"status": "failed", "seconds": "long", "headlines": {"symbols": 5}}', "not the manifest of a run"),
        ('{"status": "failed", "steps": [1]}', "not the manifest of a run"),
        ('{"status": "succeeded", "headlines": {"last_session": {"A": 1, "B": "x"}}}', "not the manifest of a run"),
        ('{"status": 5}', "it has no status"),
        ("\x00", "cannot be read"),
    ],
)
def test_one_bad_run_is_listed_as_unreadable_and_spoils_no_other(tmp_path: Path, body: str, says: str) -> None:
    for name, text in (("20260101T000000Z", body), ("20260102T000000Z", json.dumps(manifest()))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    page = report.render_runs(tmp_path).read_text()
    assert says in page
    assert "1 unreadable" in page
    assert "✓ Succeeded" in page


def test_half_a_surrogate_pair_in_a_manifest_is_replaced(tmp_path: Path) -> None:
    assert "half ? of" in render_index(tmp_path, manifest(warnings=["half \ud800 of"]))


def test_the_index_says_how_a_step_came_to_its_result_and_links_the_run_it_is_kept_from(tmp_path):
    facts = {"kept_from": "20261120T070102Z", "why": "nothing that it read has changed", "kernel": "plain: no fork"}
    run = manifest(steps=[{**step, **facts, "attempts": 2} for step in manifest()["steps"]])
    page = render_index(tmp_path, run)
    assert '<a href="../20261120T070102Z/index.html">20261120T070102Z</a>' in page
    assert "nothing that it read has changed" in page
    assert "2 attempts" in page
    assert "kernel: plain: no fork" in page
    assert "kept from" not in render_index(tmp_path, manifest())


def test_the_list_of_runs_says_which_can_go_on_and_lists_the_newest_once(tmp_path):
    (folder := tmp_path / "20261121T070102Z.partial").mkdir()
    render_index(folder, manifest(status="failed", reason="Interrupted: it was stopped after 01_ingest."))
    (tmp_path / "latest").symlink_to(folder.name)
    page = report.render_runs(tmp_path).read_text()
    assert "<code>stockkit run --resume 20261121T070102Z</code>" in page
    assert "1 run, the newest first" in page


def test_a_picture_in_markup_without_a_description_says_so(tmp_path):
    page = render(
        tmp_path, ran("a", data("text/html", f'<img src="data:image/png;base64,{PIXEL}"><img src="data:," alt="b">'))
    )
    assert page.count('alt="figure without description"') == 1
    assert 'alt="b"' in page
