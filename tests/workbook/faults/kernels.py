"""Faults of kernels before their first cell, and of what surrounds a run while it is under way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from stockkit.workbook.execution import limits
from tests.workbook.faults.fault import INDEX, MANIFEST, Fault
from tests.workbook.faults.scene import STEP, Scene

PLAIN = {"PYTHONPATH": "data/launcher", "STOCKKIT_WARM": "0"}
HERE = "import os, shutil, sys\nfrom pathlib import Path\nrun = sorted(Path('reports').glob('2*'))[-1]\n"


@contextmanager
def impatient(scene: Scene) -> Iterator[None]:
    """Wait for a kernel's first sign of life for two seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "KERNEL_START", 2)
        yield


def plant_launcher(code: str) -> Callable[[Scene], None]:
    """What stands in place of ipykernel's launcher."""

    def plant(scene: Scene) -> None:
        (folder := scene.workbook / "data" / "launcher").mkdir()
        (folder / "ipykernel_launcher.py").write_text(code)

    return plant


def edit(scene: Scene) -> None:
    """A notebook before it, which changes it."""
    code = "from pathlib import Path\npath = Path('notebooks/01_x.ipynb')\n"
    code += "path.write_text(path.read_text().replace('done before', 'done befor'))"
    scene.add("00_w", [code])
    scene.choose("00_w", STEP)


KERNELS = [
    Fault("a kernel dies at its start", "the kernel did not start: RuntimeError: planted",
          plant=plant_launcher("raise RuntimeError('planted')"), env=PLAIN, words=["-p", "retries=0"],
          evidence=False),
    Fault("ipykernel is not installed", "the kernel did not start: ModuleNotFoundError: No module named 'ipykernel'",
          plant=plant_launcher("raise ModuleNotFoundError(\"No module named 'ipykernel'\")"),
          env=PLAIN, words=["-p", "retries=0"], evidence=False),
    Fault("a kernel hangs at its start", "it gave no sign of life", around=impatient,
          plant=plant_launcher("import time; time.sleep(600)"), env=PLAIN, words=["-p", "retries=0"],
          evidence=False),
    Fault("the report of a run cannot be rendered", "The report could not be made",
          [HERE + "(run / 'index.html' / 'x').mkdir(parents=True)"], in_step=False,
          kept=("notebook", "page", MANIFEST)),
    Fault("the page of a notebook cannot be rendered", "The report could not be made",
          [HERE + "(run / '01_x.html' / 'x').mkdir(parents=True)"], in_step=False, kept=("notebook", MANIFEST)),
    Fault("the reports folder is deleted while a cell runs", "ValueError: planted",
          [HERE + "shutil.rmtree('reports')\nraise ValueError('planted')"]),
    Fault("the folder of the run is deleted while a cell runs", "ValueError: planted",
          [HERE + "shutil.rmtree(run)\nraise ValueError('planted')"]),
    Fault("a file takes the place of the reports folder while a cell runs", "Not a directory",
          [HERE + "shutil.rmtree('reports')\nopen('reports', 'w').close()"], kept=()),
    Fault("the executed notebook is deleted while a cell runs", "ValueError: planted",
          [HERE + "os.remove(run / '01_x.ipynb')\nraise ValueError('planted')"]),
    Fault("the temporary folder of the run is deleted while a cell runs", "ValueError: planted",
          [HERE + "import tempfile",
           "shutil.rmtree(Path(tempfile.gettempdir()).parents[1])\nraise ValueError('planted')"]),
    Fault("a notebook is edited while the run is under way", "01_x was changed after the run had checked it", ["1"],
          plant=edit, words=["--jobs", "1"], evidence=False, kept=(INDEX, MANIFEST), in_step=False),
]  # fmt: skip
