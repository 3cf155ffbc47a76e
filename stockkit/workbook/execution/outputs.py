"""What a cell may publish: so many characters, without secrets, streams joined; what is left out is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stockkit.workbook.execution.redactions import Redaction, as_text

TEXT_LIMIT = 1_000_000  # characters of plain text that a cell keeps
RICH_LIMIT = 20_000_000  # characters of tables and figures that a cell keeps
COUNT_LIMIT = 1_000  # outputs that a cell keeps
ERROR_LIMIT = 20_000  # characters of an error's message
MARGIN = 2_000  # a secret across the border is struck out before the cut
PLAIN = {"text/plain", "text/markdown", "text/latex"}
HANDOVER = "application/vnd.stockkit+json"
PROGRESS = "application/vnd.stockkit.progress"  # a text for whoever watches the run, kept nowhere


@dataclass
class Meter:
    """Counts what one cell puts out, and cuts it where it is too much."""

    redaction: Redaction
    limit: int = TEXT_LIMIT
    text: int = 0
    rich: int = 0
    count: int = 0
    lost: int = 0  # characters left out
    dropped: int = 0  # outputs left out

    def admit(self, output: Any) -> bool:
        """Shorten and redact one output (or the content of its message) in place; whether it is kept at all."""
        is_handover = HANDOVER in output.get("data", {})
        if self.count >= COUNT_LIMIT and not is_handover and "ename" not in output:
            self.dropped += 1
            return False
        self.count += 1
        if "text" in output:
            output["text"] = self._plain(as_text(output["text"]))
            return bool(output["text"])
        if "ename" in output:
            self._shorten_error(output)
        elif "data" in output:
            output["data"] = self.redaction.all(
                {kind: self._sized(kind, as_text(value)) for kind, value in output["data"].items()}
            )
        return True

    def note(self) -> str:
        """What was left out, in a sentence; "" where nothing was."""
        parts = [f"{self.lost:,} characters more"] if self.lost else []
        parts += [f"at least {self.dropped:,} outputs more"] if self.dropped else []
        return f"The output of this cell was cut: {' and '.join(parts)} were left out." if parts else ""

    def _plain(self, text: str) -> str:
        left = max(0, self.limit - self.text)
        kept = self.redaction.text(text[: left + MARGIN])[:left] if left else ""
        self.text += len(kept)
        self.lost += max(0, len(text) - left)
        return kept

    def _sized(self, kind: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if kind in PLAIN:
            return self._plain(value)
        if self.rich + len(value) > RICH_LIMIT:
            self.lost += len(value)
            return ""
        self.rich += len(value)
        return value

    def _shorten_error(self, output: Any) -> None:
        output["ename"] = self.redaction.text(str(output["ename"])[:ERROR_LIMIT])
        output["evalue"] = self._cut(str(output["evalue"]), ERROR_LIMIT)
        output["traceback"] = [self._cut(str(line), ERROR_LIMIT) for line in output.get("traceback") or []][:200]

    def _cut(self, text: str, limit: int) -> str:
        kept = self.redaction.text(text[: limit + MARGIN])
        if len(text) <= limit:
            return kept
        return f"{kept[:limit]} … ({len(text) - limit:,} more characters)"


def finish(cell: Any, meter: Meter) -> str:
    """Join the streams of a cell, strike out what a border between them hid, append and return what was left out."""
    joined: list[Any] = []
    for output in cell.get("outputs", []):
        before = joined[-1] if joined else None
        if before and "text" in output and "text" in before and output.get("name") == before.get("name"):
            before["text"] = as_text(before["text"]) + as_text(output["text"])
        else:
            joined.append(output)
    for output in joined:
        if "text" in output:
            output["text"] = meter.redaction.text(as_text(output["text"]))
    meter.redaction.outputs(joined)
    if note := meter.note():
        from nbformat.v4 import new_output

        joined.append(new_output("stream", name="stderr", text=f"{note}\n"))
    cell["outputs"] = joined
    return note


def cap(cell: Any) -> None:
    """Cut the outputs of an executed cell of any origin, in place, to what a page can show."""
    meter = Meter(Redaction(), TEXT_LIMIT + MARGIN)  # a note of an earlier cut stays
    cell["outputs"] = [output for output in cell.get("outputs", []) if meter.admit(output)]
    finish(cell, meter)
