"""A step without a kernel: the code cells of a planted notebook in one Python process with the trace on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from stockkit.files import Folder
from stockkit.workbook.cache import keys, reuse, trace

UNRUN = {"execution_count": None, "outputs": []}
RAN = {"execution_count": 1, "outputs": [{"output_type": "stream", "name": "stdout", "text": "7"}]}
HEAD = "import stockkit\nfrom pathlib import Path\n"


def plant(root: Path, name: str, *cells: str, text: str = "# Why?", values: str = "horizon = 1", **declared) -> Path:
    """A notebook with these code cells after its parameters; the parts of `declared` go into its metadata."""
    code = [cell(values, tags=["parameters"]), *map(cell, cells)]
    cells = [{"cell_type": "markdown", "metadata": {}, "source": text}, *code]
    document = {
        "cells": [{"id": f"c{number}", **one} for number, one in enumerate(cells)],
        "metadata": {"stockkit": {"reads": [], "writes": [], **declared}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path = root / "notebooks" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def cell(source: str, *, tags=()) -> dict:
    metadata = {"tags": list(tags)} if tags else {}
    return {"cell_type": "code", "metadata": metadata, "source": source, **UNRUN}


def rewrite(path, change):
    """A record with other facts and the right hash of them."""
    facts = json.loads(path.read_bytes())["record"]
    change(facts)
    body = json.dumps(facts, ensure_ascii=False, sort_keys=True)
    path.write_text(json.dumps({"sha256": keys.sha(body), "record": facts}))


class Steps:
    """Runs planted notebooks of one workbook, or takes over what is kept, as the chain does."""

    def __init__(self, root: Path, lake: Folder | None = None) -> None:
        self.root, self.files = root, lake or Folder(root / "data" / "lake")
        self.count = 0
        self.unkept = ""

    def run(self, path: Path, *, reads=None, writes=None, **values) -> str:
        """Why it ran, or "kept"."""
        decision = self.decide(path, **values)
        if decision.kept:
            return "kept"
        self.unkept = self.keep(decision, path, reads=reads, writes=writes)
        return decision.why

    def keep(self, decision: reuse.Decision, path: Path, *, reads=None, writes=None, **how) -> str:
        """Run it, and keep it; the reason why it was not kept."""
        self.count += 1
        notes = Path(tempfile.mkdtemp(dir=self.root.parent)) / "trace"
        self.execute(path, trace.begin(notes, self.root))
        output = notes.with_name(path.name)
        output.write_bytes(self.executed(path))
        reasons = {"reads": reads or {}, "writes": writes or {}, "stored": self.stored(writes or {})}
        return reuse.keep(decision, output, notes, self.files, self.root, run=f"run-{self.count}", **reasons, **how)[1]

    def outcome(self, path: Path, **values) -> str:
        """Why it would run, or "kept"."""
        decision = self.decide(path, **values)
        return "kept" if decision.kept else decision.why

    def decide(self, path: Path, **values) -> reuse.Decision:
        return reuse.decide(path, {"horizon": 1, **values}, self.files, self.root)

    def stored(self, writes) -> dict[str, int]:
        """The data files of tables that the step wrote."""
        if not writes:
            return {}
        from stockkit.lake.tables import Lake
        from stockkit.workbook import table_checks

        return table_checks.data_files(Lake(self.files, self.root), writes)

    def execute(self, path: Path, environment: dict[str, str]) -> None:
        """Run the cells in a process of their own."""
        cells = [c["source"] for c in json.loads(path.read_bytes())["cells"] if c["cell_type"] == "code"]
        command = [sys.executable, "-c", HEAD + "\n".join(cells)]
        done = subprocess.run(command, cwd=self.root, env={**os.environ, **environment}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def executed(self, path: Path) -> bytes:
        """What an execution would leave."""
        document = json.loads(path.read_bytes())
        code = [one for one in document["cells"] if one["cell_type"] == "code"]
        for one in code:
            one |= RAN
        return json.dumps(document).encode()
