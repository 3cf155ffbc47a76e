"""The sample's six notebooks as a chain, beside papermill and Ploomber: `python -m benchmarks.chain`.

Each way starts from an empty lake in a folder of its own, with the same notebooks, parameters and Python: papermill one
notebook after the other, Ploomber as a pipeline with its parallel executor. Then the chain again with nothing new,
and after one more day. Each figure is a ratio of seconds, and of processor seconds in the line below it, which tell
more on a busy machine. Ploomber is installed into an environment beside this one from the package index; where that
cannot be reached, it is left out.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.measure import say

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = "params/sample.yaml"
UPSTREAM = {"01_ingest": [], "02_query": ["01_ingest"], "03_features": ["01_ingest"], "04_model": ["03_features"],
            "05_visualise": ["04_model"], "00_overview": ["05_visualise"]}  # fmt: skip
DAY_BEFORE = "2023-09-20"  # the sample's last session but one
KERNEL = "benchmark"


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds, and processor seconds, with those of the processes that it waited for."""

    wall: float
    cpu: float


def cost(work: Callable[[], object]) -> Cost:
    """What some commands took."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def command(words: Sequence[str | Path], folder: Path, **environment: str) -> None:
    """Run a command in a folder; CalledProcessError with what it printed where it fails."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
        done.check_returncode()


def workbook(folder: Path) -> Path:
    """A workbook with an empty lake."""
    for part in ("notebooks", "params", "sql"):
        shutil.copytree(ROOT / part, folder / part)
    (folder / "data").mkdir()
    (folder / "data" / "sample").symlink_to(ROOT / "data" / "sample")
    return folder


def stockkit(folder: Path, *words: str) -> None:
    """One run of the chain."""
    command([sys.executable, "-m", "stockkit.cli", "run", SAMPLE, *words], folder)


def papermill(folder: Path) -> None:
    """The notebooks one after the other."""
    for name in UPSTREAM:
        words = ["-m", "papermill", "-f", SAMPLE, "--no-progress-bar", f"notebooks/{name}.ipynb", f"{name}.ipynb"]
        command([sys.executable, *words], folder)


def ploomber(folder: Path, program: Path) -> None:
    """The notebooks as a pipeline."""
    command([program, "build", "--force"], folder, JUPYTER_PATH=str(folder / "jupyter"), PLOOMBER_STATS_ENABLED="false")


def installed_ploomber(folder: Path) -> Path | None:
    """Ploomber's program in an environment of its own; None where it cannot be installed."""
    uv, environment = shutil.which("uv") or Path(sys.executable).with_name("uv"), folder / "environment"
    try:
        command([uv, "venv", "-q", "--python", sys.executable, environment], folder)
        packages = ["ploomber", "ipykernel", "nbconvert", "setuptools<81"]
        command([uv, "pip", "install", "-q", "--python", environment / "bin/python", *packages], folder)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Ploomber cannot be installed ({error}): it is left out")
        return None
    return environment / "bin" / "ploomber"


def as_pipeline(folder: Path) -> Path:
    """Let a workbook be a pipeline of Ploomber, its notebooks run by this Python."""
    kernel = folder / "jupyter" / "kernels" / KERNEL
    kernel.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": KERNEL, "language": "python"}))
    used = yaml.safe_load((folder / SAMPLE).read_text())
    for name in UPSTREAM:
        _prepare(folder / "notebooks" / f"{name}.ipynb")
    tasks = [_task(folder, name, used) for name in UPSTREAM]
    pipeline = {"meta": {"extract_upstream": False}, "executor": "parallel", "tasks": tasks}
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    return folder


def _prepare(path: Path) -> None:
    """Name the kernel of a notebook, and let it take the two parameters that Ploomber adds."""
    notebook = json.loads(path.read_text())
    notebook["metadata"]["kernelspec"] = {"name": KERNEL, "display_name": KERNEL, "language": "python"}
    for cell in notebook["cells"]:
        if "parameters" in cell["metadata"].get("tags", []):
            cell["source"] = "".join(cell["source"]) + "\nupstream = None\nproduct = None"
    path.write_text(json.dumps(notebook))


def _task(folder: Path, name: str, used: Mapping[str, object]) -> dict[str, object]:
    notebook = json.loads((folder / "notebooks" / f"{name}.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if "parameters" in cell["metadata"].get("tags", [])]
    names = {line.partition("=")[0].strip() for line in cells[0].splitlines()}
    return {
        "source": f"notebooks/{name}.ipynb",
        "name": name,
        "product": f"products/{name}.ipynb",
        "upstream": UPSTREAM[name],
        "static_analysis": "disable",
        "params": {key: value for key, value in used.items() if key in names},
    }


def seconds_of_model(folder: Path) -> float:
    """What 04_model took in the newest run of a workbook."""
    newest = max(folder.glob("reports/*/run.json"), key=lambda path: path.stat().st_mtime)
    (step,) = (step for step in json.loads(newest.read_text())["steps"] if step["name"] == "04_model")
    return float(step["seconds"])


def compare(what: str, ours: Cost, theirs: Cost, limit: str = "") -> None:
    """Print two ratios."""
    say(what, ours.wall, theirs.wall, limit)
    say("   the same in processor seconds", ours.cpu, theirs.cpu)


def main() -> None:
    """Run every way once."""
    with tempfile.TemporaryDirectory() as temporary:
        top = Path(temporary)
        ours, before = workbook(top / "ours"), workbook(top / "before")
        chain = cost(lambda: stockkit(ours))
        plain = workbook(top / "plain")
        compare("the chain / papermill, one notebook after the other", chain, cost(lambda: papermill(plain)), "<= 0.20")
        if program := installed_ploomber(top):
            pipeline = as_pipeline(workbook(top / "pipeline"))
            compare("the chain / Ploomber, in parallel", chain, cost(lambda: ploomber(pipeline, program)), "<= 0.50")
        again = cost(lambda: stockkit(ours))
        compare("the chain with nothing new / the chain", again, chain, "< 1.5 s")
        first = cost(lambda: stockkit(before, "-p", f"as_of={DAY_BEFORE}"))
        model = seconds_of_model(before)
        compare("the chain after one more day / at first", cost(lambda: stockkit(before)), first)
        say("   04_model alone", seconds_of_model(before), model, "<= 0.20")


if __name__ == "__main__":
    main()
