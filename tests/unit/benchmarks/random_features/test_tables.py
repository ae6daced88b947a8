import pytest

from benchmarks.random_features import tables


def test_recovery_is_counted_within_a_family():
    natural = {"plain, frozen": [0.4, 0.6], "plain, backprop": [0.9], "plain, dfa": [0.8]}
    natural |= {"light, dfa": [0.8], "light, frozen": [0.2], "signs, backprop": [0.7]}
    assert tables.recovery("plain, dfa", natural) == pytest.approx(0.75)
    assert tables.recovery("plain, frozen", natural) == 0
    assert tables.recovery("plain, backprop", natural) == 1
    assert tables.recovery("light, dfa", natural) is None
    assert tables.recovery("signs, backprop", natural) is None
    natural["light, backprop"] = [0.2]
    assert tables.recovery("light, dfa", natural) is None


def test_r2_is_a_plain_number_and_accuracy_a_percentage():
    row = {"part": "ridge", "way": "a", "device": "–", "features": 0, "learned": 3}
    rows = [row | {"problem": m, "metric": m, "test": t} for m in tables.FORMS for t in (0.5, 0.7)]
    assert [line[3] for line in tables.ridge(rows)[1]] == ["60.00% ± 14.14", "0.600 ± 0.141"]
