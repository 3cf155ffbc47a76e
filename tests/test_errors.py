"""The end of a message about an unknown name."""

import pytest

from stockkit.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "otherwise", "expected"),
    [
        ("vol_2O", "", " Did you mean 'vol_20'?"),
        ("vol_2O", "Known: all.", " Did you mean 'vol_20'?"),
        ("something else", "Known: all.", " Known: all."),
        ("something else", "", ""),
        (20, "Known: all.", " Known: all."),
        ("vol_20" * 1_000_000, "", ""),
    ],
)
def test_the_nearest_known_name_is_named_or_what_there_is(name, otherwise, expected):
    assert did_you_mean(name, ["ret_1", "vol_20"], otherwise) == expected
