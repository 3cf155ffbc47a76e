import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockkit.workbook.masking.sieve import Sieve

SMALL = st.binary(min_size=1, max_size=20).map(bytes.lower)


@given(st.lists(SMALL, max_size=5), st.binary(max_size=60).map(bytes.lower), st.data())
def test_it_finds_what_a_search_for_each_text_finds(texts, around, data):
    text = data.draw(st.sampled_from([*texts, b""]))
    at = data.draw(st.integers(0, len(around)))
    low = around[:at] + text + around[at:]
    assert Sieve(texts).holds(low) == any(text in low for text in texts)


@pytest.mark.parametrize("fill", [b"0000", b"abcd"])
@pytest.mark.parametrize("shift", range(5))
def test_bytes_full_of_a_part_of_a_text_do_not_mislead_it(fill, shift):
    low = fill * 100_000
    assert not Sieve([fill * 2 + b"xyz"]).holds(low)
    assert Sieve([fill * 2 + b"xyz"]).holds(low[shift:] + b"xyz")
