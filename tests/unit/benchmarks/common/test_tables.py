from benchmarks.common.tables import Table, markdown, percent, pivot, quartiles


def test_names_are_aligned_left_and_numbers_right() -> None:
    assert markdown(("a", "b"), [("x", "1")]) == "| a | b |\n| :-- | --: |\n| x | 1 |"
    text = Table("T", ("a", "b", "c"), [("x", "y", "1")], ("A note.",)).markdown()
    assert text == "# T\n\n| a | b | c |\n| :-- | :-- | --: |\n| x | y | 1 |\n\nA note.\n"


def test_a_share_says_what_is_missing() -> None:
    assert percent(0.98765, 0.0012) == "98.77% ± 0.12"
    assert percent(0.5, 0.0) == "50.00% ± 0.00"
    assert percent(0.5, None) == "50.00% ± –"
    assert percent(None, None) == "–"


def test_quartiles() -> None:
    assert quartiles({"ratio_quartiles": (0.98765, 1.25)}) == "0.988–1.250"
    assert quartiles({"ratio_quartiles": (0.98765, 1.25)}, ".1f") == "1.0–1.2"


def test_a_pivot_has_the_rules_in_order_and_dashes() -> None:
    rows = [
        {"net": "a", "rule": "fa", "ratio": 1.5, "limit": 1.0},
        {"net": "a", "rule": "dfa", "ratio": 0.5, "limit": 0.25},
        {"net": "b", "rule": "dfa", "ratio": 0.75, "limit": 0.3},
    ]
    heads, lines = pivot(rows, "ratio", ("dfa", "kp", "fa"), limit="limit")
    assert heads == ("network", "dfa", "fa", "DFA's FLOP limit")
    assert lines == [["a", "0.50", "1.50", "0.25"], ["b", "0.75", "–", "0.30"]]
