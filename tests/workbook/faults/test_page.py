"""docs/faults.md says what the injected faults do."""

from __future__ import annotations

from tests.workbook.faults import page


def test_the_page_on_faults_is_what_the_faults_are():
    assert page.PAGE.read_text() == page.write(), "python -m tests.workbook.faults.page writes it anew"


def test_each_fault_is_there_once_and_says_something():
    faults = [fault for part in page.PARTS.values() for fault in part]
    assert len({fault.name for fault in faults}) == len(faults) >= 45
    assert all(fault.says and fault.code for fault in faults)
