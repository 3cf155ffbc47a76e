from __future__ import annotations

from nbformat.v4 import new_code_cell, new_output

from stockkit.workbook.execution import outputs
from stockkit.workbook.execution.redactions import Redaction


def published(*given):
    meter = outputs.Meter(Redaction(["hiddenvalue"]))
    cell = new_code_cell("x", outputs=[output for output in given if meter.admit(output)])
    outputs.finish(cell, meter)
    return cell.outputs


def stream(text, name="stdout"):
    return new_output("stream", name=name, text=text)


def test_streams_are_joined_so_that_a_border_hides_nothing():
    (joined,) = published(stream("a hidden"), stream("value b"))
    assert joined.text == "a *** b"


def test_what_is_left_out_is_counted_and_said():
    kept, note = published(stream("x" * outputs.TEXT_LIMIT), stream("y" * 500))
    assert len(kept.text) == outputs.TEXT_LIMIT
    assert note.text == "The output of this cell was cut: 500 characters more were left out.\n"


def test_a_hand_over_is_never_left_out():
    handed = new_output("display_data", data={outputs.HANDOVER: {"writes": {}}, "text/plain": ""})
    kept = published(*(stream(str(k), f"s{k}") for k in range(outputs.COUNT_LIMIT + 5)), handed)
    assert any(outputs.HANDOVER in output.get("data", {}) for output in kept)
    assert "at least 5 outputs more were left out" in kept[-1].text


def test_capping_again_keeps_the_note():
    cell = new_code_cell("x", outputs=published(stream("x" * (outputs.TEXT_LIMIT + 7))))
    before = [dict(output) for output in cell.outputs]
    outputs.cap(cell)
    assert [dict(output) for output in cell.outputs] == before
