"""Whatever goes wrong, a run never says that it succeeded: fault by fault, before one judge."""

from __future__ import annotations

import pytest

from tests.workbook.faults.cells import CELLS
from tests.workbook.faults.disks import DISKS
from tests.workbook.faults.inputs import INPUTS
from tests.workbook.faults.judge import problems
from tests.workbook.faults.kernels import KERNELS
from tests.workbook.faults.scene import met
from tests.workbook.faults.sources import SOURCES
from tests.workbook.faults.tables import TABLES


@pytest.mark.parametrize("fault", [*CELLS, *TABLES, *KERNELS, *DISKS, *SOURCES, *INPUTS], ids=lambda fault: fault.slug)
def test_a_fault_is_a_failed_run_with_its_cause_and_evidence_and_nothing_left(fault, tmp_path):
    with met(fault, tmp_path) as (_, outcome):
        assert problems(fault, outcome) == []
