"""The markup of a notebook's cells made ready for a page: headings, tables, links; in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape, unescape
from itertools import count, zip_longest

_OPEN = re.compile(r'<h([1-6]) id="([^"<>]{0,2000})">|<table\b|<style scoped\b')
_ANCHOR = re.compile(r'<a class="anchor-link"[^<>]*>[^<>]*</a>$')
_CELL_OPEN = re.compile(r"<(t[hd])\b[^<>]*>")
_ROW_OPEN = re.compile(r"<tr\b")
_NOTEBOOK_LINK = re.compile(r'<a href="([\w-]+)\.ipynb(#[^"<>]*)?">')
_UNDESCRIBED = re.compile(r"<img\b(?![^<>]*\salt\b)")
_NUMBER = re.compile(r"[-+−]?(\d[\d,_]*(\.\d*)?|\.\d+)(e[-+]?\d+)?\s?%?$", re.I)
_UNKNOWN = {"", "NaN", "nan", "None", "NaT", "inf", "-inf", "...", "…", "–", "<NA>"}

Section = tuple[int, str, str]  # level, id, text


def arranged(html: str) -> tuple[str, list[Section], str]:
    """Take the title out, give each heading an id of its own, as a notebook may say "Result" twice, and each table
    a box that scrolls; the title ("" for none), the sections and the rest."""
    sections: list[Section] = []
    taken = {"failed", "top", "code", ""}
    titles: list[str] = []

    def heading(level: str, wish: str, inside: str) -> str | None:
        text, anchors = _ANCHOR.subn("", inside)
        if not anchors:
            return None
        if not titles and not sections and level == "1":
            titles.append(_plain(text))
            return ""
        anchor = next(name for turn in count(1) if (name := f"{wish}-{turn}" if turn > 1 else wish) not in taken)
        taken.add(anchor)
        sections.append((int(level), anchor, _plain(text)))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text} {link}</h{level}>'

    def piece(opening: re.Match[str], inside: str) -> str | None:
        if opening[1]:
            return heading(opening[1], opening[2], inside)
        if opening[0].startswith("<style"):
            return ""
        label = escape(f"Table: {sections[-1][2]}" if sections else "Table")
        table = _align(f"{opening[0]}{inside}</table>")
        return f'<div class="scroll" role="region" tabindex="0" aria-label="{label}">{table}</div>'

    html = _replace(_UNDESCRIBED.sub('<img alt="figure without description"', html), _OPEN, piece)
    return (titles or [""])[0], [section for section in sections if section[0] in (2, 3)], html


def linked(html: str, pages: set[str]) -> str:
    """Lead links between notebooks to their pages; where this run has no such page, leave the words alone."""

    def lead(link: re.Match[str], words: str) -> str:
        return f'<a href="{link[1]}.html{link[2] or ""}">{words}</a>' if link[1] in pages else words

    return _replace(html, _NOTEBOOK_LINK, lead)


def _replace(html: str, opening: re.Pattern[str], change: Callable[[re.Match[str], str], str | None]) -> str:
    """Replace what lies from an opening tag to its closing one, in time linear in the length; None leaves it alone.

    BeautifulSoup takes a third longer for a page and rewrites what notebooks put out; with the parser of Python 3.11.7
    it is quadratic on tags that never end.
    """
    done, parts = 0, []
    absent: set[str] = set()  # closing tags that do not come any more
    for match in opening.finditer(html):
        name = re.split(r"\W", match[0][1:], maxsplit=1)[0]
        close = f"</{name}>"
        end = -1 if close in absent or match.start() < done else html.find(close, match.end())
        if end >= 0:
            new = change(match, html[match.end() : end])
            last = end + len(close)
            parts += [html[done : match.start()], html[match.start() : last] if new is None else new]
            done = last
        elif match.start() >= done:
            absent.add(close)
    return "".join([*parts, html[done:]])


def _align(table: str) -> str:
    """Mark the cells of numeric columns, which are counted from the right, where no index shifts them."""
    rows: list[list[str]] = []

    def read_row(opening: re.Match[str], row: str) -> None:
        rows.append([])
        _replace(row, _CELL_OPEN, read_cell)

    def read_cell(opening: re.Match[str], text: str) -> None:
        if opening[1] == "td":
            rows[-1].append(_plain(text))

    _replace(table, _ROW_OPEN, read_row)
    columns = [{*column} - _UNKNOWN for column in zip_longest(*(row[::-1] for row in rows), fillvalue="")]
    numeric = {place for place, texts in enumerate(columns) if texts and all(map(_NUMBER.match, texts))}

    def mark_row(opening: re.Match[str], row: str) -> str | None:
        if "colspan" in row:
            return None
        place = count(len(_CELL_OPEN.findall(row)) - 1, -1)

        def mark(cell: re.Match[str], text: str) -> str:
            return f"{cell[0][:3]}{' data-num' * (next(place) in numeric)}{cell[0][3:]}{text}</{cell[1]}>"

        return f"{opening[0]}{_replace(row, _CELL_OPEN, mark)}</tr>"

    return _replace(re.sub(r' border="\d+"', "", table, count=1), _ROW_OPEN, mark_row)


def _plain(html: str) -> str:
    return unescape(re.sub(r"<[^<>]*>", "", html)).strip()
