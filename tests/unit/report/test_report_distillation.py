"""The page of a distillation: what it says, what it does not claim, and its picture."""

import json
import math
import re
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from distilled_records import distillation, fail_budget, fail_way, without_facts
from html_tree import Element, read, rows
from report_records import comparison
from scipy.stats import t

from beyondprop import report
from beyondprop.errors import UserError
from beyondprop.report.distilled.headline import headline
from beyondprop.report.distilled.read import read_distillation
from beyondprop.report.distilled.summary import summary
from beyondprop.report.figures.network import PAGE, middle_cut, network
from beyondprop.report.pages import script

NASTY = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"""
OTHERS = {
    "the teacher": ("teacher",),
    "end-to-end training at equal computation (library shared)": ("end to end, shared",),
    "end-to-end training at equal computation (library whole)": ("end to end, whole",),
    "end-to-end training at equal computation": ("end to end, shared", "end to end, whole"),
    "pruned": ("pruned",),
    "scratch": ("scratch",),
}
"""What a headline compares with, and the ways of a record that are meant."""
VERDICTS = "scores above|scores below|does not differ significantly from|is not compared with"


def page(record: dict[str, Any]) -> Element:
    return read(report.render_distillation(record))


def said(record: dict[str, Any]) -> str:
    return headline(read_distillation(record))


def lead(record: dict[str, Any]) -> str:
    return " ".join(summary(read_distillation(record)))


def interval(first: list[float], second: list[float]) -> tuple[float, float]:
    """Student's interval of the mean difference of pairs, written again."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    count, mean = len(differences), statistics.mean(differences)
    half = t.ppf(0.975, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return mean - half, mean + half


def scores(record: dict[str, Any], way: str, place: int = 0) -> list[float]:
    if way == "teacher":
        return [each["teacher"]["score"] for each in record["seeds"]]
    return [each["assemblies"][place]["ways"][way]["score"] for each in record["seeds"]]


def claims(text: str) -> set[tuple[str, str, str]]:
    """Return each verdict of a headline with the way and the budget that it is about."""
    found = set()
    for clause in text.split(" and healed ", 1)[1].split("; it "):
        parts = re.split(rf"(?:^|, and | and )(?=(?:{VERDICTS}) )", clause)[1:]
        other = ""
        for part in parts:
            verdict, rest = re.match(rf"({VERDICTS}) (.*)", part).groups()  # type: ignore[union-attr]
            other = next((name for name in OTHERS if rest.startswith(name)), other)
            budgets = re.findall(r"([\d.]+)%", part) or re.findall(r"([\d.]+)%", parts[-1])
            found |= {(verdict, way, of) for way in OTHERS[other] for of in budgets}
    return found


@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("noise", [0.0005, 0.004, 0.02])
@pytest.mark.parametrize("budgets", [(0.7,), (0.7, 0.45)])
def test_a_headline_claims_nothing_that_an_interval_does_not_show(
    budgets: tuple[float, ...], noise: float, seeds: int
) -> None:
    verdicts = set()
    for trial in range(12):
        ends = {"teacher": 0.96, "healed": 0.96 - 0.004 * (trial % 4), "end to end, shared": 0.955}
        own = tuple(range(100 * trial, 100 * trial + seeds))
        record = distillation(("a", "b"), budgets, own, ends, noise)
        if len(budgets) == 1:  # then both charges are the same runs
            for seed in record["seeds"]:
                ways = seed["assemblies"][0]["ways"]
                ways["end to end, whole"] = ways["end to end, shared"]
        made = claims(said(record))
        told = {(way, budget) for _, way, budget in made}
        assert len(told) == len(made)  # no two verdicts on the same
        for place, budget in enumerate(f"{100 * each:g}" for each in budgets):
            for way in ("teacher", "end to end, shared", "end to end, whole"):
                assert (way, budget) in told
            for verdict, way, of in made:
                if of == budget:
                    low, high = interval(
                        scores(record, "healed", place), scores(record, way, place)
                    )
                    assert verdict != "scores above" or low > 0
                    assert verdict != "scores below" or high < 0
                    verdicts.add(verdict)
    assert "does not differ significantly from" in verdicts
    if noise < 0.001 and seeds == 6:
        assert {"scores above", "scores below"} <= verdicts


def test_a_large_difference_is_told_with_its_size() -> None:
    record = distillation(ends={"healed": 0.9, "teacher": 0.96}, seeds=range(5), noise=0.001)
    text = said(record)
    assert text.startswith("digits-mlp assembled from pieces and healed scores below the teacher")
    low, high = interval(scores(record, "healed"), scores(record, "teacher"))
    by = f"70% (by {-50 * (low + high):.1f} ± {50 * (high - low):.1f} points)"
    assert by in text
    assert text.endswith("(5 seeds)")
    assert "below pruned" in text  # what is better at equal computation is not left out
    assert (
        "significant differences (t-tests paired by seed, 95%, after Holm's correction for 5 pairs)"
        in lead(record)
    )


def test_ways_to_charge_a_library_are_told_one_by_one_where_they_differ() -> None:
    ends = {"healed": 0.95, "end to end, shared": 0.9, "end to end, whole": 0.95}
    text = said(distillation(ends=ends, seeds=range(5), noise=0.001))
    assert (
        "scores above end-to-end training at equal computation (library shared) within 70%" in text
    )
    assert (
        "does not differ significantly from end-to-end training at equal computation (library "
        "whole)" in text
    )


def test_one_seed_supports_no_comparison() -> None:
    record = distillation(seeds=(7,), ends={"healed": 0.5}, noise=0.0)
    text = said(record)
    assert text.endswith("; one seed supports no comparison")
    assert "50.0% within 70% of the operations (teacher 96.2%, end to end 95.2% or 95.3%)" in text
    assert not re.search("above|below|differ significantly", text)
    assert "One seed gives no interval" in lead(record)
    table = rows(page(record).all("table", class_="main")[0])
    assert not any("±" in cell for row in table for cell in row)


def test_seeds_that_agree_to_the_last_digit_are_not_believed() -> None:
    """Few seeds agree by rounding alone: the variance is at least that of one test sample."""
    ends = {"healed": 0.9620, "teacher": 0.9625}
    assert "does not differ significantly from the teacher" in said(
        distillation(ends=ends, noise=0.0)
    )


def test_the_table_has_means_intervals_and_marks() -> None:
    record = distillation()
    table = rows(page(record).all("table", class_="main")[0])
    assert table[0] == [
        *("Budget of operations", "Operations kept", "Teacher", "Merged", "Healed"),
        *("End to end (shared)", "End to end (whole)", "Pruned", "Scratch"),
    ]
    assert [row[:2] for row in table[1:]] == [["70%", "69%"], ["45%", "44%"]]
    healed = scores(record, "healed")
    half = t.ppf(0.975, 2) * statistics.stdev(healed) / math.sqrt(3)
    assert table[1][4] == f"{100 * statistics.mean(healed):.1f}% ± {100 * half:.1f}"
    assert "†" in table[1][8]
    assert "†" not in table[1][4]
    assert "†: a chosen learning rate" in page(record).text


def test_a_library_of_one_budget_has_one_charge() -> None:
    table = rows(page(distillation(budgets=(0.7,))).all("table", class_="main")[0])
    assert table[0][5:] == ["End to end", "Pruned", "Scratch"]


def test_failures_are_told_in_words_and_hidden_in_no_mean() -> None:
    record = fail_way(fail_budget(distillation(), 0, (0, 2)), 1, 1)
    found = page(record)
    text = " ".join(each.text for each in found.all("p", class_="lead"))
    assert "Within 70%, no assembly with seeds 0 and 2: no assembly is within" in text
    assert "Pruned failed within 45% with seed 1: the loss is no number." in text
    assert "Not compared, because the score of a seed is missing: pruned." in text
    table = rows(found.all("table", class_="main")[0])
    assert table[1][1] == "69% 1 of 3 seeds"
    assert table[2][7] == "– failed: 1 of 3"
    assert "not compared with the teacher within 70%" in said(record)
    assert "(1 to 3 seeds)" in said(record)
    every = fail_budget(distillation(budgets=(0.01,)), 0, (0, 1, 2))
    assert said(every) == "No assembly of pieces of digits-mlp is within 1% of its operations"
    assert rows(page(every).all("table", class_="main")[0])[1][:2] == ["1%", "– no assembly"]


def test_every_student_is_listed_with_what_it_costs_and_where_it_is_chosen() -> None:
    record = distillation()
    del record["seeds"][0]["students"]["layers.1"]["narrower(share=0.5)"]
    found = page(record)
    table = rows(found.all("table", class_="dense")[0])
    assert len(table) == 1 + 3 * 2
    assert table[0][:2] == ["Neighbourhood", "Candidate"]
    assert table[1][:2] == ["layers.0", "narrower(share=0.5)"]
    students = [each["students"]["layers.0"] for each in record["seeds"]]
    errors = [each["narrower(share=0.5)"]["error"] for each in students]
    assert table[1][2] == (
        f"{statistics.mean(errors):#.3g} {min(errors):#.3g} to {max(errors):#.3g}"
    )
    assert table[1][4:7] == ["50% 100", "50% 500", "20"]
    assert [row[7] for row in table[1:3]] == ["70%", "–"]
    assert "narrower(share=0.5) has no student for layers.1." in found.text


def test_the_picture_names_what_was_chosen_and_how_much_of_it_is_left() -> None:
    (svg,) = page(distillation()).all("svg", role="img")
    texts = [each.text for each in svg.all("text")]
    assert {"within 70%", "within 45%", "69% kept, seed 0", "teacher", "50%", "31%"} <= set(texts)
    assert texts.count("teacher") == 3
    hints = [each.text for each in svg.all("g")[1].all("title")]
    assert hints == ["layers.1: teacher, chosen from 3 of 3 seeds"]
    tips = [each.attributes["data-tip"] for each in svg.all("rect", class_="tip")]
    assert tips == [each.text for group in svg.all("g") for each in group.all("title")]
    frames = [each for each in svg.all("rect") if "stroke" in (each.attributes["style"] or "")]
    bars = svg.all("g")[0].all("rect")
    assert len(frames) == 1 + 2 * 3
    assert float(bars[1].attributes["width"]) == pytest.approx(
        float(bars[0].attributes["width"]) * 0.5, abs=0.1
    )


def test_the_picture_says_which_seed_it_shows() -> None:
    record = distillation()
    assert "All seeds that have an assembly made the same choices." in page(record).text
    record["seeds"][1]["assemblies"][1]["choice"] = {"layers.2": "low-rank(share=0.25)"}
    assert "Other seeds chose differently within 45% (1 of 3 seeds)" in page(record).text
    (svg,) = page(fail_budget(record, 0, (0,))).all("svg", role="img")
    texts = [each.text for each in svg.all("text")]
    assert "69% kept, seed 1" in texts
    assert "44% kept, seed 0" in texts


def test_thirty_neighbourhoods_with_long_names_have_room() -> None:
    names = tuple(f"backbone.encoder.layers.{i}.mlp" for i in range(30))
    drawn = network(read_distillation(distillation(names, (0.8, 0.6, 0.4, 0.2))))
    assert len(drawn) == 2
    for each in drawn:
        (svg,) = read(each).all("svg")
        width, height = map(float, (svg.attributes["viewbox"] or "").split()[2:])
        assert width <= PAGE
        left = [float(text.attributes["y"] or "") for text in svg.all("text") if "mlp" in text.text]
        assert len(left) == 30
        assert all(b - a > 20 for a, b in pairwise(left))
        assert max(left) < height
        boxes = [text_box(text) for text in svg.all("text")]
        for place, (x, y, right) in enumerate(boxes):
            assert 0 <= x < right <= width + 1
            for other, line, end in boxes[:place]:
                assert abs(y - line) > 10 or right <= other or end <= x


def text_box(text: Element) -> tuple[float, float, float]:
    """Return where a text begins, its line, and where it ends in a broad font."""
    x, y = float(text.attributes["x"] or ""), float(text.attributes["y"] or "")
    wide = 7.0 * len("".join(text.own_text))
    return (x - wide, y, x) if text.attributes["text-anchor"] == "end" else (x, y, x + wide)


def test_long_names_of_candidates_keep_their_beginning_and_end() -> None:
    assert middle_cut("narrower(share=0.5)", 30) == "narrower(share=0.5)"
    cut = middle_cut("my_module.candidates:Narrow(share=0.5)", 20)
    assert len(cut) == 20
    assert cut.startswith("my_module")
    assert cut.endswith("are=0.5)")


def test_early_records_show_costs_themselves() -> None:
    found = page(without_facts(distillation()))
    assert "This record does not hold the cost of the teacher's pieces" in found.text
    assert rows(found.all("table", class_="dense")[0])[1][4:6] == ["100", "500"]
    assert "digits-conv assembled from pieces" in found.all("h1")[0].text


def test_errors_are_coloured_where_rises_are_not_known() -> None:
    record = distillation()
    for of in record["seeds"][1]["students"].values():
        for each in of.values():
            each["alone"] = None
    (svg,) = page(record).all("svg", role="img")
    assert "error: distance from the output of the teacher's piece" in svg.text


def test_what_a_record_says_is_never_markup() -> None:
    record = distillation((NASTY, "b"), (0.7, 0.45))
    text = json.dumps(record).replace("narrower(share=0.5)", json.dumps(NASTY)[1:-1])
    record = json.loads(text)
    record["spec"]["candidates"] = [NASTY]
    record["spec"]["rule"] = NASTY
    record["provenance"]["command"] = NASTY
    for seed in record["seeds"]:
        seed["task"] |= {"name": NASTY, "data": NASTY, "metric": NASTY}
    fail_way(record, 0, 0)["seeds"][0]["assemblies"][0]["ways"]["pruned"]["failed"] = NASTY
    root = page(record)
    assert [each.own_text for each in root.all("script")] == [[script().text]]
    assert not root.all("img")
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on")]
    assert root.text.count(NASTY) > 10
    assert "49" not in re.findall(r"amp;(\d+)", root.text)


def test_names_that_utf8_cannot_hold_do_no_harm(tmp_path: Path) -> None:
    put(tmp_path / "d", distillation(("bell\x07 surrogate\ud800 日本", "b")))
    page = report.write([tmp_path / "d"], tmp_path / "r.html").read_text("utf-8")
    (svg,) = read(page).all("svg", role="img")
    assert "bell surrogate 日本: " in (svg.attributes["aria-label"] or "")


def put(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{record['kind']}.json").write_text(json.dumps(record))
    return folder


def test_a_folder_of_distillations_shares_a_page_with_comparisons(tmp_path: Path) -> None:
    put(tmp_path / "a", distillation())
    assert report.write([tmp_path / "a"], tmp_path / "r.html").read_text() == (
        report.render_distillation(distillation())
    )
    put(tmp_path / "b", distillation(budgets=(0.5,)))
    found = read(report.write([tmp_path], tmp_path / "r.html").read_text())
    assert found.all("title")[0].text == "BeyondProp: 2 distillations"
    links = [each.attributes["href"] for each in found.all("nav")[0].all("a")]
    assert [link for link in links if "-" not in (link or "")] == ["#d0", "#d1"]
    assert not found.all("section", id="all")
    put(tmp_path / "c", comparison(("backprop", "dfa"), seeds=(0, 1), epochs=1))
    found = read(report.write([tmp_path], tmp_path / "r.html").read_text())
    assert found.all("title")[0].text == "BeyondProp: 1 comparison and 2 distillations"
    assert len(found.all("article")) == 3
    ids = [i for element in found.all() if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))
    assert {"terms", "distillation-terms"} <= set(ids)


def test_an_unfinished_distillation_is_not_read_as_something_else(tmp_path: Path) -> None:
    teacher = tmp_path / "seed-0" / "teacher"
    teacher.mkdir(parents=True)
    (teacher / "record.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"none of .*distillation.json, .*`beyondprop distil`.*--resume"
    ):
        report.write([tmp_path], tmp_path / "r.html")


def test_another_record_is_refused() -> None:
    with pytest.raises(UserError, match="not the record of a distillation"):
        report.render_distillation(comparison(("dfa",), seeds=(0,), epochs=1))
    with pytest.raises(UserError, match="record schema 2 and this version reads 1;"):
        report.render_distillation(distillation() | {"schema": 2})
