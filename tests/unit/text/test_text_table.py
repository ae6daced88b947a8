"""The printer of aligned tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beyondprop.text import aligned

CELLS = st.text("ab ", max_size=5)


def test_columns_are_as_wide_as_they_must_be() -> None:
    rows = [("block", "n", "what"), ("stem", "1,024", "cut"), ("a", "", "left as it is")]
    assert aligned(rows, right={1}) == [
        "block      n  what",
        "stem   1,024  cut",
        "a             left as it is",
    ]
    assert aligned(rows, indent=2)[1] == "  stem   1,024  cut"


def test_no_rows() -> None:
    assert aligned([]) == []


def test_rows_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="argument 2 is"):
        aligned([("a", "b"), ("c",)])


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1))
def test_nothing_is_lost_and_columns_begin_at_one_place(rows: list[tuple[str, ...]]) -> None:
    lines = aligned(rows, right={1})
    first = max(len(row[0]) for row in rows)
    second = max(len(row[1]) for row in rows)
    for row, line in zip(rows, lines, strict=True):
        padded = line.ljust(first + second + 4)
        assert padded[:first].rstrip() == row[0].rstrip()
        assert padded[first + 2 : first + 2 + second].strip() == row[1].strip()
        assert line[first + second + 4 :] == row[2].rstrip()
