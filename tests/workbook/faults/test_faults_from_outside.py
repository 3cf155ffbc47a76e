"""Signals, a closed terminal, a killed run: before the same judge as every other fault, as processes of their own."""

from __future__ import annotations

import pytest

from tests.workbook.faults.judge import problems
from tests.workbook.faults.scene import met
from tests.workbook.faults.signals import SIGNALS


@pytest.mark.parametrize("fault", SIGNALS, ids=lambda fault: fault.slug)
def test_what_stops_a_run_from_outside_is_a_failed_run_with_its_evidence_and_nothing_left(fault, tmp_path):
    with met(fault, tmp_path) as (_, outcome):
        assert problems(fault, outcome) == []
