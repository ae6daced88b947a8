"""Suggestions for mistyped names."""

import pytest

from beyondprop.text import did_you_mean


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("dfb", "; did you mean 'dfa'?"),
        ("DFA", "; did you mean 'dfa'?"),
        ("adam", "; did you mean 'Adam'?"),
        ("qqqq", ""),
    ],
)
def test_the_closest_name_is_said_whatever_its_case(name: str, said: str) -> None:
    assert did_you_mean(name, ["dfa", "drtp", "Adam"]) == said
