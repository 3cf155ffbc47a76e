"""Notebooks as other programs write them."""

from __future__ import annotations

import json
from typing import Any

LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": "3.8.10",
}
STREAM = {"name": "stdout", "output_type": "stream", "text": ["stale\n"]}
RUN = ["total = 1 + 1\n", "print(total)"]


def code(source: Any = RUN, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": 7, "metadata": {}, "outputs": [STREAM], "source": source} | more


def notebook(*cells: dict[str, Any], minor: int = 4, **metadata: Any) -> dict[str, Any]:
    return {"cells": [*cells] or [code()], "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}


def spec(name: str, display: str, **more: str) -> dict[str, Any]:
    return {"kernelspec": {"display_name": display, "name": name} | more}


COLAB = notebook(
    {"cell_type": "markdown", "source": ['<a href="https://colab.research.google.com/x.ipynb">open</a>'],
     "metadata": {"id": "view-in-github", "colab_type": "text"}},
    code(["#@title A form { display-mode: \"form\" }\n", "total = 2 #@param {type:\"integer\"}\n", "print(total)"],
         metadata={"id": "u4Yx_2s", "colab": {"base_uri": "https://localhost:8080/", "height": 35},
                   "outputId": "0b0f5e0a", "cellView": "form"},
         outputs=[{"output_type": "execute_result", "data": {"text/plain": ["2"],
                   "application/vnd.google.colaboratory.intrinsic+json": {"type": "string"}},
                   "metadata": {}, "execution_count": 1}, {"output_type": "stream", "name": "stdout", "text": "2"}]),
    minor=0, colab={"provenance": [], "gpuType": "T4", "collapsed_sections": ["a"]}, accelerator="GPU",
    gpuClass="standard", language_info={"name": "python"}, **spec("python3", "Python 3"),
)  # fmt: skip
KAGGLE = notebook(
    code(["# This Python 3 environment comes with many helpful analytics libraries installed\n", *RUN],
         metadata={"_uuid": "8f2839f25d086af736a60e9eeb907d3b93b6e0e5", "_cell_guid": "b1076dfc", "trusted": True,
                   "execution": {"iopub.status.busy": "2024-01-01T00:00:00.000Z"}}),
    kaggle={"accelerator": "none", "dataSources": [], "dockerImageVersionId": 30626, "isInternetEnabled": True},
    language_info=LANGUAGE, **spec("python3", "Python 3", language="python"),
)  # fmt: skip
VSCODE = notebook(
    code(metadata={"vscode": {"languageId": "python"}}),
    minor=2, orig_nbformat=4, language_info=LANGUAGE,
    vscode={"interpreter": {"hash": "31f2aee4e71d21fbe5cf8b01ff0e069b9275f58929596ceb00d14d90e3e16cd6"}},
    **spec("python3", "Python 3.8.10 64-bit"),
)  # fmt: skip
WIDGETS = notebook(
    code(),
    widgets={"application/vnd.jupyter.widget-state+json": {"version_major": 2, "version_minor": 0, "state": {
        "3f": {"model_module": "@jupyter-widgets/controls", "model_module_version": "1.5.0",
               "model_name": "FloatProgressModel", "state": {"value": 100}}}}},
    **spec("python3", "Python 3", language="python"),
)  # fmt: skip
SLIDES = notebook(
    {"cell_type": "markdown", "metadata": {"slideshow": {"slide_type": "slide"}}, "source": ["# A talk\r\n", "so"]},
    code(metadata={"slideshow": {"slide_type": "fragment"}, "tags": ["hide-input"], "collapsed": False,
                   "scrolled": True, "ExecuteTime": {"end_time": "2020-01-01T00:00:00"}}),
    celltoolbar="Slideshow", livereveal={"theme": "serif"}, toc={"nav_menu": {}}, **spec("python3", "Python 3"),
)  # fmt: skip
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ATTACHED = notebook(
    {"cell_type": "markdown", "attachments": {"a.png": {"image/png": PICTURE}}, "metadata": {},
     "source": "# Drawn\n\n![a.png](attachment:a.png)"},
    {"cell_type": "raw", "metadata": {"raw_mimetype": "text/restructuredtext"}, "source": [".. raw:: text\n"]},
    code(),
)  # fmt: skip
MAGICS = notebook(code(["%%time\r\n", "total = 2\r\n", "print(total)"]), code("!echo from a shell"),
                  code("%matplotlib inline\n%load_ext autoreload"), code("total?"), code(""))  # fmt: skip
OLD = {
    "metadata": {"name": "", "signature": "sha256:0"},
    "nbformat": 3,
    "nbformat_minor": 0,
    "worksheets": [
        {
            "cells": [
                {"cell_type": "heading", "level": 1, "metadata": {}, "source": ["An old one"]},
                {"cell_type": "code", "collapsed": False, "input": RUN, "language": "python", "metadata": {},
                 "outputs": [{"output_type": "stream", "stream": "stdout", "text": ["stale"]},
                             {"output_type": "pyout", "prompt_number": 1, "text": ["2"]}], "prompt_number": 1},
            ],
            "metadata": {},
        }
    ],
}  # fmt: skip
RUNS = {
    "colab": COLAB,
    "kaggle": KAGGLE,
    "vs_code": VSCODE,
    "widgets": WIDGETS,
    "slides": SLIDES,
    "attachments": ATTACHED,
    "magics": MAGICS,
    "old": OLD,
    "conda": notebook(language_info=LANGUAGE, **spec("conda-env-foo-py", "Python [conda env:foo]", language="python")),
    "no_metadata": {"cells": [{"cell_type": "code", "source": RUN}], "nbformat": 4},
    "no_kernelspec": notebook(language_info={"name": "python"}),
    "nulls": notebook(code(metadata=None, outputs=None), kernelspec=None, language_info=None, stockkit=None),
    **{f"format_4_{minor}": notebook(minor=minor, **spec("python3", "Python 3")) for minor in range(6)},
    "same_ids": notebook(code(id="a"), code(id="a"), code(id="not an id!"), code(id=5), minor=5),
    "executed": notebook(
        code("kept = 1", metadata={"tags": ["injected-parameters"], "papermill": {"status": "completed"}}),
        code(),
        papermill={"parameters": {"kept": 1}, "exception": True, "version": "2.3"},
    ),
}
REFUSED = {
    "r": (notebook(**spec("ir", "R", language="R")), "written in 'R': a run has Python alone"),
    "r_of_colab": (notebook(**spec("ir", "R")), "written in 'R'"),
    "julia": (notebook(**spec("julia-1.9", "Julia 1.9")), "written in 'julia'"),
    "info_alone": (notebook(language_info={"name": "R", "version": "4.3"}), "written in 'R'"),
    "python2": (notebook(**spec("python2", "Python 2", language="python2")), "Convert it to Python 3"),
    "an_old_kernel": (notebook(language_info=LANGUAGE | {"version": "2.7.18"}, **spec("python2", "Python 2")),
                      "Convert it to Python 3"),
    "odd": (notebook(**spec("python3", "Python 3", language="Python3")), "name for that is \"python\""),
    "two_cells": (notebook(*[code("a = 1", metadata={"tags": ["parameters"]})] * 2), "2 cells tagged `parameters`"),
    "newer": (notebook() | {"nbformat": 5}, "nbformat 5, and up to 4 is known"),
    "no_format": ({"cells": []}, "no `nbformat`"),
    "no_cells": ({"nbformat": 4, "metadata": {}}, "no list of cells"),
    "cells": (notebook({"cell_type": "chart", "source": ""}), "cell 1 is of no known type ('chart')"),
    "list": ([1], "a notebook is a mapping"),
}  # fmt: skip
AS_BYTES = {
    "utf16": (json.dumps(notebook()).encode("utf-16"), "UTF-16 text, and notebooks are UTF-8"),
    "utf16_le": (json.dumps(notebook()).encode("utf-16-le"), "UTF-16 text"),
    "latin": (b'{"cells": "caf\xe9"}', "not UTF-8 text"),
    "empty": (b" \n", "the file is empty"),
    "half": (json.dumps(notebook()).encode()[:50], "it is not JSON"),
    "merge": (b"{\n<<<<<<< HEAD\n}", "marks of a merge"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
}
