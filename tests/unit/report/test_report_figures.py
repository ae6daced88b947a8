"""Figures draw what they are given, and no label covers another."""

import re
from itertools import pairwise

import pytest
from html_tree import Element, read
from hypothesis import given
from hypothesis import strategies as st
from report_records import comparison

from beyondprop import report
from beyondprop.report.figures.lines import curve_of
from beyondprop.report.labels import beside, spread
from beyondprop.report.style import styles


def line(svg: Element, colour: str) -> list[tuple[float, float]]:
    """The points of the first line of this colour: x to the right, y downwards, in pixels."""
    for path in svg.all("path"):
        style = path.attributes.get("style") or ""
        if f"stroke: {colour}" in style and "fill: none" in style:
            found = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.attributes["d"] or "")
            return [(float(x), float(y)) for x, y in found]
    raise AssertionError(f"no line in {colour}")


def test_a_learning_curve_is_drawn_to_scale() -> None:
    record = comparison(("dfa",), seeds=(0,), epochs=2)
    for point, score in zip(record["runs"][0]["curve"], (0.2, 0.6, 0.8), strict=True):
        point["validation_score"] = score
    svg = read(report.render(record)).all("svg", role="img")[0]
    (x0, y0), (x1, y1), (x2, y2) = line(svg, "var(--rule-0)")
    assert x2 - x1 == pytest.approx(x1 - x0, abs=0.1)
    assert y0 > y1 > y2
    assert (y0 - y1) / (y1 - y2) == pytest.approx(2, abs=0.01)


def tips(svg: Element) -> list[str]:
    return [tip.attributes["data-tip"] or "" for tip in svg.all("circle", class_="tip")]


def test_points_tell_their_figures_and_belong_to_their_rule() -> None:
    record = comparison(("backprop", "dfa", "frozen"), epochs=2)
    for row, interval in zip(record["rows"], (None, [0.7, 0.9], None), strict=True):
        row["recovery_interval"] = interval
    recovered, curves, *_ = read(report.render(record)).all("svg", role="img")
    (told,) = tips(recovered)
    assert re.fullmatch(r"DFA recovers \d+% \(70% to 90%\)", told)
    found = tips(curves)
    assert len(found) == 3 * 3
    assert any(re.match(r"DFA, epoch 2: \d+\.\d% \(seeds", each) for each in found)
    keys = {mark.attributes.get("data-rule") for mark in curves.all() if mark.tag == "g"}
    assert {"r0", "r1", "r2"} <= keys


def test_intervals_beyond_the_axis_end_in_an_arrow_and_zero_is_told() -> None:
    record = comparison(("backprop", "dfa", "frozen"), epochs=1)
    record["rows"][1]["recovery_interval"] = [-9.0, 0.95]
    svg = read(report.render(record)).all("svg", role="img")[0]
    assert tips(svg)[0].endswith("not significantly different from frozen")
    assert "−900% to 95%" in (svg.attributes["aria-label"] or "")


def bands(page: str) -> list[Element]:
    """The figures that hold a grey band."""
    style = re.compile(r"fill: var\(--muted\); (fill-)?opacity: 0\.1(;|$)")
    return [
        svg
        for svg in read(page).all("svg", role="img")
        if any(style.search(e.attributes.get("style") or "") for e in svg.all())
    ]


def test_the_band_needs_both_controls() -> None:
    with_both = report.render(comparison(("backprop", "dfa", "frozen"), epochs=2))
    assert len(bands(with_both)) == 3
    assert with_both.count("grey band") == 2
    for one in ("backprop", "frozen"):
        without = report.render(comparison((one, "dfa"), epochs=3))
        assert not bands(without)
        assert "grey band" not in without


def test_a_cheaper_and_better_rule_lies_to_the_upper_left() -> None:
    record = comparison(("dfa", "fa"), seeds=(0, 1), epochs=1)
    for row, score, ratio in zip(record["rows"], (0.9, 0.8), (0.5, 0.7), strict=True):
        row.update(score_mean=score, score_std=0.01, step_ratio=ratio)
    page = read(report.render(record))
    svg = next(
        s for s in page.all("svg", role="img") if "step time" in (s.attributes["aria-label"] or "")
    )
    assert svg.attributes["aria-label"] == (
        "Test accuracy, % against step time: DFA 90.0% at 0.50×, FA 80.0% at 0.70×"
    )
    good, bad = line(svg, "var(--rule-0)"), line(svg, "var(--rule-1)")
    assert good[0][0] < bad[0][0]
    assert good[0][1] < bad[0][1]


def test_the_last_half_is_enlarged_only_where_that_shows_more() -> None:
    long = report.render(comparison(("backprop", "dfa"), epochs=20))
    assert "Epochs 10 to 20, enlarged" in long
    assert "enlarged" not in report.render(comparison(("backprop", "dfa"), epochs=2))


def test_a_rule_far_below_frozen_does_not_flatten_the_enlarged_panel() -> None:
    record = comparison(("backprop", "dfa", "frozen"), epochs=20)
    before = report.render(record)
    for each in record["runs"][3:6]:
        for point in each["curve"]:
            point["validation_score"] = 0.1
    after = report.render(record)
    assert "Below the enlarged range: DFA." in after
    assert "Below the enlarged range" not in before
    (enlarged,) = [svg for svg in read(after).all("svg", role="img") if "enlarged" in svg.text]
    assert [text.text for text in enlarged.all("text")].count("DFA") == 0
    assert [text.text for text in enlarged.all("text")].count("frozen") == 1


def test_no_two_rules_look_the_same() -> None:
    drawn = styles(["backprop", *(f"rule {i}" for i in range(40)), "frozen"])
    looks = {(style.colour, style.dashes, style.marker) for style in drawn.values()}
    assert len(looks) == 42
    assert list(drawn)[:2] == ["backprop", "frozen"]
    pairs = {(style.colour, style.dashes) for rule, style in list(drawn.items())[2:26]}
    assert len(pairs) == 24  # without their markers too
    few = list(styles(["fa", "dfa", "drtp", "a", "b", "c"]).values())
    assert len({style.colour for style in few}) == 6


def test_a_mean_curve_has_only_epochs_that_every_run_has() -> None:
    curve = curve_of([{0: 0.1, 1: 0.3, 2: 0.5}, {0: 0.3, 1: None, 2: 0.7}])
    assert curve.epochs == [0, 2]
    assert curve.mean == pytest.approx([0.2, 0.6])
    assert curve.low == [0.1, 0.5]
    assert curve.high == [0.3, 0.7]
    assert curve_of([]).epochs == []


@given(st.lists(st.floats(0, 200), max_size=10), st.floats(1, 20))
def test_spread_labels_keep_their_order_and_their_distance(
    positions: list[float], gap: float
) -> None:
    placed = spread(positions, gap, 0, 200)
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    steps = [placed[b] - placed[a] for a, b in pairwise(order)]
    assert all(step >= gap - 1e-6 for step in steps)
    assert all(-1e-6 <= place <= 200 + 1e-6 for place in placed)
    gaps = [b - a for a, b in pairwise(sorted(positions))]
    if all(step > gap for step in gaps):
        assert placed == pytest.approx(positions)


def test_labels_that_meet_move_apart_evenly() -> None:
    assert spread([100, 100], 10, 0, 200) == [95, 105]
    assert spread([100, 99, 150], 10, 0, 200) == [104.5, 94.5, 150]


def test_a_label_moves_off_what_is_there() -> None:
    free = beside(50, 50, 40, 12, [])
    assert free == (59, 44, 99, 56)
    left = beside(50, 50, 40, 12, [free])
    assert left == (1, 44, 41, 56)
    third = beside(50, 50, 40, 12, [free, left])
    assert third[1] >= 56 or third[3] <= 44
