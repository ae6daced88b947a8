"""How things are written: labels, names of files, and settings."""

import pytest

from beyondprop.registry import file_name, label, settings

LONG = "a" * 200


@pytest.mark.parametrize(
    ("spec", "text", "file"),
    [
        ("dfa", "dfa", "dfa"),
        ("my.rules:Mine", "my.rules:Mine", "my.rules-Mine"),
        ({"rule": "dfa"}, "dfa", "dfa"),
        ({"dfa": None}, "dfa", "dfa"),
        (
            {"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}},
            "dfa(projection=hadamard(rounds=2))",
            "dfa-projection-hadamard-rounds-2",
        ),
        (
            {"dfa": {"projection": {"name": "hadamard", "rounds": 2}}},
            "dfa(projection=hadamard(rounds=2))",
            "dfa-projection-hadamard-rounds-2",
        ),
        ({"fa": {"exact": ["a.*", "b"]}}, "fa(exact=[a.*, b])", "fa-exact-a.-b"),
        ({"rule": "a", "of": {"x": 1, "y": 2}}, "a(of={x=1, y=2})", "a-of-x-1-y-2"),
        ("../../etc:passwd", "../../etc:passwd", "..-..-etc-passwd"),
    ],
)
def test_labels_and_file_names(spec: object, text: str, file: str) -> None:
    assert label(spec) == text
    assert file_name(text) == file


def test_long_file_names_stay_apart() -> None:
    one, other = file_name(LONG + "b"), file_name(LONG + "c")
    assert one != other
    assert len(one) == 100


def test_settings_of_what_is_no_dataclass() -> None:
    class Plain:
        name = "plain"

    assert settings(Plain(), "rule") == {"rule": "plain"}
