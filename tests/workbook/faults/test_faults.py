"""Whatever goes wrong, a run never says that it succeeded: fault by fault, before one judge."""

from __future__ import annotations

import pytest

from tests.workbook.faults.cells import CELLS
from tests.workbook.faults.judge import problems
from tests.workbook.faults.scene import meet


@pytest.mark.parametrize("fault", CELLS, ids=lambda fault: fault.slug)
def test_a_fault_is_a_failed_run_with_its_cause_and_evidence_and_nothing_left(fault, tmp_path):
    _, outcome = meet(fault, tmp_path)
    assert problems(fault, outcome) == []
