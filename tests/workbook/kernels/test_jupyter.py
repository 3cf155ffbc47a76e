"""Warm kernels by Jupyter's own ways: papermill's engine, a kernelspec, and the same outputs by each of them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys

import httpx
import nbformat
import papermill
import pytest
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import AsyncKernelManager

from stockkit.workbook.execution.jobs import KERNELSPEC
from tests.conftest import ROOT
from tests.workbook.kernels.conftest import Room, eventually, text, unnamed

CELLS = [
    "print('out'); import sys; print('err', file=sys.stderr); 6 * 7",
    "import numpy, pandas\nfrom IPython.display import HTML, Markdown, display, update_display, clear_output",
    "pandas.DataFrame({'x': numpy.arange(60) / 7, 'text': 'of a column that is a little longer than the others'})",
    "import matplotlib.pyplot as plt\nplt.plot([1, 3, 2]); plt.title('of a cell')",
    "figure, axes = plt.subplots(1, 2)\naxes[1].bar(['a', 'b'], [1, 2]); display(figure); plt.close(figure)",
    "display(HTML('<b>1</b>'), display_id='a'); display(Markdown('**x**'))",
    "update_display(HTML('<b>2</b>'), display_id='a')",
    "print('gone'); clear_output(); print('kept')",
    "!echo from a shell\nimport subprocess; print(subprocess.run(['echo', 'program'], capture_output=True))",
    "%%bash\necho of bash; echo error >&2",
    "%time sum(range(1000))",
    "try: input('?')\nexcept Exception as error: print(type(error).__name__)",
    "import warnings; warnings.warn('careful'); warnings.warn('old', DeprecationWarning)",
    "import logging; logging.warning('logged'); pandas.options.display.max_columns, plt.isinteractive()",
    "def fail(): raise ValueError('planted')\nfail()",
    "print('never')",
]  # fmt: skip
VOLATILE = [
    (re.compile(r"/[^\s\"\\]*ipykernel_\d+[^\s\"\\]*?\.py"), "cell"),
    (re.compile(r"[\d.e+]+ (ns|[μµ]s|ms|s)\b"), "T"),
    (re.compile(r"0x[0-9a-f]+"), "0x"),
]


def joined(cell):
    """The outputs of a cell; what one stream gave in parts, by how fast it was read, as one."""
    parts = []
    for output in cell.outputs:
        if parts and "text" in output and output.get("name") == parts[-1].get("name"):
            parts[-1] = {**parts[-1], "text": parts[-1]["text"] + output.text}
        else:
            parts.append(output)
    return parts


def outputs(notebook):
    """What the cells put out, without numbers of processes, times and addresses."""
    cells = [
        [json.dumps(out, sort_keys=True, ensure_ascii=False) for out in joined(cell)]
        for cell in notebook.cells
        if "outputs" in cell
    ]
    for pattern, plain in VOLATILE:
        cells = [[pattern.sub(plain, out) for out in cell] for cell in cells]
    return [sorted(cell) if any('"stderr"' in out for out in cell) else cell for cell in cells]  # two pipes, any order


def test_a_notebook_puts_out_the_same_by_plain_papermill_and_by_plain_and_warm_kernels(room: Room):
    warm, done = room.run(*CELLS)
    plain, other = room.run(*CELLS, source="not today")
    assert (done.kernel, other.kernel) == ("warm", "plain: not today")
    given = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    nbformat.write(given, room.folder / "given.ipynb")
    path = room.folder / "by-papermill.ipynb"
    command = [sys.executable, "-m", "papermill", "-k", "python3", "given.ipynb", path.name]
    assert subprocess.run(command, cwd=room.folder, capture_output=True, check=False).returncode == 1
    expected = outputs(nbformat.read(path, as_version=4))
    assert any("image/png" in out for cell in expected for out in cell)
    assert outputs(plain) == expected
    assert outputs(warm) == expected


def test_papermill_finds_the_engine_and_its_kernels_are_forked_without_a_module_of_stockkit(tmp_path):
    cell = (
        "import os, sys\nprint(open(f'/proc/{os.getppid()}/cmdline').read())\n"
        "print([name for name in sys.modules if name.startswith('stockkit')], a)"
    )
    cells = [nbformat.v4.new_code_cell("a = 1", metadata={"tags": ["parameters"]}), nbformat.v4.new_code_cell(cell)]
    document = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    nbformat.write(document, tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "--engine", "stockkit", "-k", "python3", "-p", "a", "2"]
    subprocess.run([*command, "in.ipynb", "out.ipynb"], cwd=tmp_path, check=True, capture_output=True)
    printed = text(nbformat.read(tmp_path / "out.ipynb", as_version=4).cells[-1])
    assert "kernels/parent.py" in printed
    assert printed.endswith("[] 2\n")


def test_the_engine_passes_on_how_a_notebook_failed(tmp_path):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), tmp_path / "in.ipynb")
    how = {"engine_name": "stockkit", "kernel_name": "python3", "progress_bar": False}
    with unnamed(), pytest.raises(papermill.PapermillExecutionError, match="ZeroDivisionError"):
        papermill.execute_notebook(tmp_path / "in.ipynb", tmp_path / "out.ipynb", **how)


async def session() -> list[str]:
    """What a kernel of the kernelspec says, as JupyterLab would start, interrupt, restart and end it."""
    answers = list[str]()
    manager = AsyncKernelManager(kernel_name="stockkit")
    await manager.start_kernel()
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=60)
        waiting = client.execute("import time; print('sleeps', flush=True); time.sleep(600)")
        while (await client.get_iopub_msg(timeout=60))["msg_type"] != "stream":
            pass
        await manager.interrupt_kernel()
        while (reply := await client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != waiting:
            pass
        answers.append(reply["content"]["ename"])
        before = manager.provisioner.pid
        await manager.restart_kernel()
        await client.wait_for_ready(timeout=60)
        reply = await client.execute("import sys; assert 'time' not in vars()", reply=True, timeout=60)
        answers += [reply["content"]["status"], str(manager.provisioner.pid != before), manager.provisioner.kernel]
    finally:
        client.stop_channels()
        await manager.shutdown_kernel()
    return [*answers, str(await manager.is_alive())]


def test_the_kernelspec_has_warm_kernels_that_can_be_interrupted_and_restarted():
    with unnamed():
        assert asyncio.run(session()) == ["KeyboardInterrupt", "ok", "True", "warm", "False"]


def test_jupyterlab_has_warm_kernels_as_make_lab_starts_it(tmp_path):
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab" in line]
    key, _, provisioner = line.strip().removeprefix("@").split()[0].partition("=")
    folders = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("RUNTIME", "CONFIG", "DATA")}
    words = ["--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", f"--notebook-dir={tmp_path}"]
    with unnamed(), (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *words, "--IdentityProvider.token=planted"],
                                  env={**os.environ, **folders, key: provisioner}, stdout=log, stderr=log)  # fmt: skip
    try:
        assert eventually(lambda: list((tmp_path / "RUNTIME").glob("jpserver-*.json")))
        address = json.loads(next((tmp_path / "RUNTIME").glob("jpserver-*.json")).read_bytes())["url"]
        with httpx.Client(base_url=f"{address}api/", headers={"Authorization": "token planted"}, timeout=60) as api:
            kernels = [api.post("kernels", json={"name": name}).json()["id"] for name in ("python3", "stockkit")]
            api.post(f"kernels/{kernels[0]}/restart").raise_for_status()
            parents = {parent_of_kernel(tmp_path / "RUNTIME" / f"kernel-{kernel}.json") for kernel in kernels}
    finally:
        server.terminate()
        server.wait(60)
    assert len(parents) == 1
    assert "kernels/parent.py" in parents.pop()


def parent_of_kernel(connection):
    """The command of the process that a kernel was started by."""
    client = BlockingKernelClient(connection_file=str(connection))
    client.load_connection_file()
    client.start_channels()
    answers = list[str]()
    try:
        client.wait_for_ready(timeout=60)
        cell = "import os; print(open(f'/proc/{os.getppid()}/cmdline').read())"
        client.execute_interactive(
            cell, timeout=60, output_hook=lambda it: answers.append(it["content"].get("text", ""))
        )
    finally:
        client.stop_channels()
    return "".join(answers)
