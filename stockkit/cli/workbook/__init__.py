"""Commands of the workbook itself: its schedule, and new notebooks."""
