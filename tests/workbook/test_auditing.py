from __future__ import annotations

import pytest

from stockkit.errors import ParamError
from stockkit.workbook import auditing


@pytest.mark.parametrize("end", ["import sys; sys.exit(0)", "raise SystemExit", "exit()", "import os; os._exit(0)"])
def test_a_module_that_ends_python_when_it_is_loaded_is_refused_not_passed(tmp_path, end):
    (tmp_path / "mine.py").write_text(f"def f(bars):\n    return bars['close']\n\n\n{end}\n")
    with pytest.raises(ParamError, match="nothing was audited"):
        auditing.function_at(f"{tmp_path / 'mine.py'}:f")
