"""The page of methods for several modalities: what it says, does not claim, and draws."""

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from distilled_records import distillation
from html_tree import Element, read, rows
from modal_records import NAMES, fail, modalities
from report_records import comparison
from scipy.stats import t

from beyondprop import report
from beyondprop.errors import UserError
from beyondprop.experiment.modal_methods import METHODS, OURS
from beyondprop.experiment.modaling import LATE, SINGLE
from beyondprop.report.modal.headline import headline
from beyondprop.report.modal.methods import headings, lines
from beyondprop.report.modal.read import read_modalities
from beyondprop.report.modal.records import title
from beyondprop.report.modal.summary import summary
from beyondprop.report.pages import script

NASTY = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"""
FEW = (OURS, "joint", "joint, concatenation")
VERDICTS = "scores below|scores above|does not differ significantly from|is not compared with"


def page(record: dict[str, Any]) -> Element:
    return read(report.render_modalities(record))


def said(record: dict[str, Any]) -> str:
    return headline(read_modalities(record))


def test_the_headline_names_modality_dropout() -> None:
    record = modalities()
    assert "dropout" not in said(record)
    record["spec"]["dropout"] = 0.2
    assert ", modality dropout 0.2: pre-training" in said(record)


def lead(record: dict[str, Any]) -> str:
    return " ".join(summary(read_modalities(record)))


def table(record: dict[str, Any], first: str) -> list[list[str]]:
    """Return the table whose first heading is this."""
    return next(each for each in map(rows, page(record).all("table")) if each[0][0] == first)


def scores(record: dict[str, Any], method: str) -> list[float]:
    return [each["methods"][method]["score"] for each in record["seeds"]]


def interval(first: list[float], second: list[float]) -> tuple[float, float]:
    """Student's interval of the mean difference of pairs, written again."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    count, mean = len(differences), statistics.mean(differences)
    half = t.ppf(0.975, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return mean - half, mean + half


def claims(text: str) -> dict[str, str]:
    """Return the verdict of a headline on each method that it names."""
    found = {}
    for clause in re.split(rf"(?=(?:{VERDICTS}) )", text.split(OURS, 1)[1])[1:]:
        (verdict, rest) = re.match(rf"({VERDICTS}) (.*)", clause).groups()  # type: ignore[union-attr]
        every = re.search(r"(?:all|any of the) (\d+) other methods", rest)
        for name in (*FEW[1:], LATE, SINGLE):
            named = re.search(rf"(?:^|, | and ){re.escape(title(name))}(?!\w| \(con)", rest)
            if every or named:
                found[name] = verdict
    return found


@pytest.mark.parametrize("seeds", [2, 3, 6])
@pytest.mark.parametrize("noise", [0.0005, 0.004, 0.02])
def test_a_headline_claims_nothing_that_an_interval_does_not_show(noise: float, seeds: int) -> None:
    verdicts = set()
    for trial in range(12):
        ends = {"joint": 0.9 + 0.004 * (trial % 4), SINGLE: 0.896, "joint, concatenation": 0.9}
        own = tuple(range(100 * trial, 100 * trial + seeds))
        record = modalities(seeds=own, ends=ends, noise=noise, methods=FEW)
        made = claims(said(record))
        assert set(made) == {*FEW[1:], LATE, SINGLE}
        for other, verdict in made.items():
            low, high = interval(scores(record, OURS), scores(record, other))
            assert verdict != "scores above" or low > 0
            assert verdict != "scores below" or high < 0
            verdicts.add(verdict)
        helped = "scores above" in made.values()
        assert ("shows no gain: " in said(record)) == (not helped)
        over_joint = made["joint"] == "scores above"
        assert ("shows no gain over joint training: " in said(record)) == (helped > over_joint)
    assert "does not differ significantly from" in verdicts
    if noise < 0.001 and seeds == 6:
        assert {"scores above", "scores below"} <= verdicts


def test_where_pre_training_does_not_help_is_said_first() -> None:
    ends = {OURS: 0.9, "joint": 0.95, SINGLE: 0.6, LATE: 0.6}
    record = modalities(ends=ends, seeds=range(5), noise=0.001, methods=FEW)
    low, high = interval(scores(record, OURS), scores(record, "joint"))
    by = f"(by {-50 * (low + high):.1f} ± {50 * (high - low):.1f} points)"
    text = said(record)
    assert text.startswith(
        f"digits-mlp: {OURS} shows no gain over joint training: it scores below joint"
        f" {by}; it does not differ significantly from joint (concatenation); it scores above"
    )
    assert text.endswith("(5 seeds)")
    assert page(record).all("h1")[0].text == text
    worse = modalities(ends={OURS: 0.5}, seeds=range(5), noise=0.001)
    assert re.search(
        r"shows no gain: it scores below all 13 other methods"
        r" \(by \d+.\d to \d+.\d points\) \(5 seeds\)$",
        said(worse),
    )


def test_of_many_methods_those_that_are_better_are_all_named() -> None:
    ends = {name: 0.95 for name in METHODS if name != OURS} | {LATE: 0.8, SINGLE: 0.8}
    text = said(modalities(ends=ends, seeds=range(5), noise=0.001))
    assert all(title(name) in text for name in METHODS)
    alike = said(modalities(ends={OURS: 0.95, SINGLE: 0.95}, seeds=range(5), noise=0.001))
    assert "does not differ significantly from best single modality; it scores above" in alike
    assert re.search(r"above joint \(by [^)]*\), late fusion \(by [^)]*\) and 10 others", alike)


def test_one_seed_supports_no_comparison() -> None:
    record = modalities(seeds=(7,), ends={OURS: 0.5}, noise=0.0)
    text = said(record)
    assert text.endswith("; one seed supports no comparison")
    assert f"{OURS} reaches 50.0% (joint 90.0%, best single modality 80" in text
    assert not re.search("above|below|differ significantly", text)
    assert "One seed gives no interval" in lead(record)
    assert not any("±" in cell for row in table(record, "Method") for cell in row)


def test_seeds_that_agree_to_the_last_digit_are_not_believed() -> None:
    """Few seeds agree by rounding alone: the variance is at least that of one test sample."""
    ends = {OURS: 0.9025, "joint": 0.9}
    record = modalities(ends=ends, noise=0.0, methods=FEW)
    assert claims(said(record))["joint"] == "does not differ significantly from"


def test_a_comparison_without_ours_or_without_its_scores_claims_nothing() -> None:
    without = modalities(methods=("joint", "UMT"))
    assert said(without) == f"digits-mlp: {OURS} is not among the methods"
    page(without)
    failed = modalities()
    for seed in range(3):
        fail(failed, OURS, seed)
    assert said(failed) == f"digits-mlp: {OURS} failed with every seed"
    assert "Pre-training failed with seeds 0, 1 and 2: the loss" in lead(failed)
    page(failed)


def test_the_table_has_means_differences_computation_rates_and_marks() -> None:
    record = modalities(seeds=range(5), ends={OURS: 0.95})
    found = table(record, "Method")
    assert found[0] == [
        *("Method", "Test accuracy", "Weighted F1", "Pre-training minus this"),
        *("Computation", "Learning rate", "Computation to target", "Time", "Seeds"),
    ]
    by_name = {row[0]: row for row in found[1:]}
    assert next(iter(by_name)) == OURS  # the best mean first
    means = [float(row[1].split("%")[0]) for row in found[1:]]
    assert means == sorted(means, reverse=True)
    joint = scores(record, "joint")
    low, high = interval(joint, [0.0] * 5)
    assert by_name["joint"][1] == f"{100 * statistics.mean(joint):.1f}% ± {50 * (high - low):.1f}"
    low, high = interval(scores(record, OURS), joint)
    assert by_name["joint"][3] == f"+{50 * (low + high):.1f} ± {50 * (high - low):.1f} above"
    assert by_name["joint"][4:] == ["100%", "0.001", "60% 6.00 s", "12.5 s", "5 of 5"]
    assert by_name["UMT"][6] == "–"
    assert by_name[SINGLE][6:8] == ["10% 1.50 s", "3.00 s"]
    assert by_name["UMT"][5] == "0.001 †"
    assert by_name[LATE][4:6] == ["60%", "–"]
    assert "†: the chosen learning rate lies at the edge" in page(record).text
    assert "best single modality, by validation, is sound" in page(record).text


def test_the_target_is_told_and_how_many_seeds_reach_it() -> None:
    record = modalities(seeds=(0, 1))
    known = sorted(100 * each["target"] for each in record["seeds"])
    told = f"The target is a validation score of {known[0]:.1f}% to {known[1]:.1f}%, which the"
    assert told in page(record).text
    record["seeds"][0]["methods"]["joint"]["to_target"] = None
    (joint,) = [row for row in table(record, "Method") if row[0] == "joint"]
    assert joint[6] == "60% 6.00 s 1 of 2 seeds"
    record["spec"]["target"] = 0.5
    for seed in record["seeds"]:
        seed["target"] = 0.5
    assert "The target is a validation score of 50.0%, as set by target." in page(record).text
    for seed in record["seeds"]:
        seed.pop("target")  # as an earlier version wrote it
        seed["alone"]["text"].pop("converged")
    assert "Computation to target" not in table(record, "Method")[0]


def test_how_soon_a_modality_converges_stands_in_its_line() -> None:
    record = modalities(seeds=(0, 1, 2))
    lone = next(each for each in map(rows, page(record).all("table")) if "Best epoch" in each[0])
    assert lone[0][7:] == ["Converged after", "Time"]
    assert [line[7:] for line in lone[1:]] == [
        ["2 epochs 10%", "3.00 s"],
        ["3 epochs 10%", "3.00 s"],
    ]
    record["seeds"][0]["alone"]["text"]["converged"] = None
    record["seeds"][1]["alone"]["text"]["converged"]["epochs"] = 5
    lone = next(each for each in map(rows, page(record).all("table")) if "Best epoch" in each[0])
    assert lone[2][7] == "3 epochs to 5 epochs 10% 2 of 3 seeds"


def test_a_modality_that_samples_lack_has_two_scores() -> None:
    record = modalities(seeds=(0, 1))
    assert "without the modality" not in page(record).text
    for seed in record["seeds"]:
        seed["alone"]["text"] |= {"own_score": 0.5, "own_samples": 40}
    lone = next(each for each in map(rows, page(record).all("table")) if "Best epoch" in each[0])
    assert lone[2][1].endswith("50.0% where present")
    assert "where present" not in lone[1][1]
    assert "gets the best constant answer on the" in page(record).text


def test_failures_are_told_in_words_and_hidden_in_no_mean() -> None:
    record = fail(modalities(), "UMT", 1)
    (umt,) = [row for row in table(record, "Method") if row[0] == "UMT"]
    assert umt[1].endswith("2 of 3 seeds")
    assert umt[3] == "–"
    assert umt[-1] == "2 of 3; failed with seed 1: the loss is no number"
    assert "UMT failed with seed 1: the loss is no number." in lead(record)
    assert "Not compared, because the score of a seed is missing: UMT." in lead(record)
    assert "is not compared with UMT" in said(record)
    (line,) = [each for each in lines(read_modalities(record)) if each.troubled]
    assert line.method == "UMT"
    own = fail(modalities(seeds=range(4)), OURS, 2)
    assert said(own).endswith("(3 of 4 seeds)")


def test_missing_and_noisy_modalities_have_tables() -> None:
    record = modalities(("sound", "text", "face"), seeds=(0, 1))
    tables = [each for each in map(rows, page(record).all("table")) if each[0][0] == "Method"]
    missing, noise = tables[1:3]
    singles = ["Only sound", "Only text", "Only face"]
    assert missing[0] == ["Method", "All given", *singles, *reversed(without())]
    by_name = {row[0]: row for row in missing[1:]}
    given = [each["methods"]["joint"]["missing"]["sound+face"] for each in record["seeds"]]
    assert by_name["joint"][6].startswith(f"{100 * statistics.mean(given):.1f}%")
    assert SINGLE not in by_name
    lone = [
        statistics.mean(a["alone"][n]["score"] for a in record["seeds"]) for n in ("sound", "text")
    ]
    last = by_name["best sub-network alone"]
    assert last[3].startswith(f"{100 * lone[1]:.1f}%")
    assert last[5].startswith(f"{100 * lone[0]:.1f}%")
    assert noise[0] == ["Method", "No noise", *(f"Noise in {n}" for n in ("sound", "text", "face"))]
    corrupted = [each["methods"][OURS]["noise"]["text"] for each in record["seeds"]]
    (ours,) = [row for row in noise if row[0] == OURS]
    assert ours[3].startswith(f"{100 * statistics.mean(corrupted):.1f}%")


def without() -> list[str]:
    return [f"Without {name}" for name in ("sound", "text", "face")]


def test_first_choices_stand_beside_chance_and_the_best_possible() -> None:
    record = modalities()
    found = table(record, "First choice of")
    assert [row[0] for row in found[-3:]] == [
        "a random modality",
        "always the best single modality",
        "the best possible choice",
    ]
    assert not {title(name) for name in METHODS if not METHODS[name].attentive} & {
        row[0] for row in found
    }
    trusts = [each["methods"][OURS]["trust"] for each in record["seeds"]]
    picked, chance = ([each[key] for each in trusts] for key in ("picked_right", "mean_right"))
    low, high = interval(picked, chance)
    assert found[1] == [
        OURS,
        f"{100 * statistics.mean(picked):.1f}% ± "
        f"{50 * (interval(picked, [0.0] * 3)[1] - interval(picked, [0.0] * 3)[0]):.1f}",
        f"+{50 * (low + high):.1f} ± {50 * (high - low):.1f}",
    ]
    assert (
        f"The first choice of {OURS} is right more often than a random modality"
        in page(record).text
    )
    for trust in trusts:
        trust["picked_right"], trust["mean_right"] = trust["mean_right"], trust["picked_right"]
    assert f"first choice of {OURS} is right less often than a random modality" in page(record).text
    for place, trust in enumerate(trusts):
        trust["picked_right"] = trust["mean_right"] + 0.01 * (place - 1)
    assert (
        f"first choice of {OURS} is not right significantly more or less often than"
        in page(record).text
    )


def test_weights_where_a_modality_is_right_stand_beside_those_where_it_is_wrong() -> None:
    record = modalities()
    for seed in record["seeds"]:  # never wrong
        seed["methods"][OURS]["trust"]["weight_where_wrong"]["sound"] = math.nan
    found = table(record, "Modality")
    trusts = [each["methods"][OURS]["trust"] for each in record["seeds"]]
    right = statistics.mean(each["weight_where_right"]["text"] for each in trusts)
    wrong = statistics.mean(each["weight_where_wrong"]["text"] for each in trusts)
    assert found[2][2].startswith(f"{right:.3f} ±")
    assert found[2][4].startswith(f"+{right - wrong:.3f} ±")
    assert found[1][3:] == ["–", "–"]
    drawn = picture(record, f"Mean weights of {OURS}")
    told = f"text {right:.3f} where right and {wrong:.3f} where wrong"
    assert told in (drawn.attributes["aria-label"] or "")
    assert "sound" in (drawn.attributes["aria-label"] or "")


def picture(record: dict[str, Any], start: str) -> Element:
    """Return the picture whose description begins so."""
    drawn = page(record).all("svg", role="img")
    return next(e for e in drawn if (e.attributes["aria-label"] or "").startswith(start))


def marks(svg: Element, colour: str, round_: bool) -> list[float]:
    """Return where the circles of a colour lie from left to right, or its crosses."""
    curved = {
        f"#{path.attributes['id']}"
        for path in svg.all("path")
        if path.attributes.get("id") and "C" in (path.attributes["d"] or "")
    }
    return sorted(
        float(each.attributes["x"] or "")
        for each in svg.all("use")
        if colour in (each.attributes.get("style") or "")
        and (each.attributes["href"] in curved) is round_
    )


def test_a_mark_says_of_which_samples_a_modality_alone_is_right() -> None:
    record = modalities(seeds=(4, 5))
    trust = record["seeds"][0]["methods"][OURS]["trust"]
    trust["right"] = [[i % 2 == 0, i == 3] for i in range(12)]
    svg = picture(record, f"Weights of {OURS}")
    right, wrong = (marks(svg, "var(--rule-0)", round_) for round_ in (True, False))
    at = sorted([*right, *wrong])
    assert len(at) == 12
    assert right == at[::2]
    assert marks(svg, "var(--rule-1)", True) == [at[3]]
    assert {text.text for text in svg.all("text")} >= {*NAMES, "test sample", "1", "12"}
    assert "sample 1: sound" in (svg.attributes["aria-label"] or "")
    assert "(seed 4)" in page(record).text


def test_every_figure_tells_its_points() -> None:
    record = modalities(seeds=(0, 1))
    for svg in page(record).all("svg", role="img"):
        assert svg.all("circle", class_="tip"), svg.attributes["aria-label"]
    trust = record["seeds"][0]["methods"][OURS]["trust"]
    first = picture(record, f"Weights of {OURS}").all("circle", class_="tip")[0]
    weight, alone = trust["samples"][0][0], "right" if trust["right"][0][0] else "wrong"
    assert first.attributes["data-tip"] == f"sample 1, sound: weight {weight:.2f}, alone {alone}"


def test_bars_are_as_high_as_weights() -> None:
    record = modalities(seeds=(0,))
    trust = record["seeds"][0]["methods"][OURS]["trust"]
    trust["samples"] = [[0.75, 0.25], [0.1, 0.9]]
    trust["right"] = trust["right"][:2]
    svg = picture(record, f"Weights of {OURS}")
    heights = []
    for path in svg.all("path"):
        style = path.attributes.get("style") or ""
        if "fill: var(--rule-0)" in style and "Z" in (path.attributes["d"] or "").upper():
            corners = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.attributes["d"] or "")
            own = [float(y) for _, y in corners]
            heights.append(max(own) - min(own))
    assert heights[0] / heights[1] == pytest.approx(7.5, rel=0.01)


def test_learning_curves_have_a_panel_a_modality_and_a_line_a_seed() -> None:
    record = modalities(seeds=(0, 1, 2))
    svg = picture(record, "Validation loss of text alone")
    best = [each["alone"]["text"]["best"] + 1 for each in record["seeds"]]
    loss = [
        each["alone"]["text"]["validation"][b - 1]
        for each, b in zip(record["seeds"], best, strict=True)
    ]
    told = ", ".join(f"epoch {b} at {of:.3g}" for b, of in zip(best, loss, strict=True))
    assert (svg.attributes["aria-label"] or "").endswith(f"best {told}")
    drawn = [
        path
        for path in svg.all("path")
        if "fill: none" in (path.attributes.get("style") or "")
        and "var(--rule-1)" in (path.attributes.get("style") or "")
    ]
    assert len(drawn) == 3
    lone = next(each for each in map(rows, page(record).all("table")) if "Best epoch" in each[0])
    assert lone[2][3] == (f"{min(best)} to {max(best)}" if min(best) < max(best) else f"{best[0]}")
    assert lone[2][6] == "0.003 †"


def test_losses_that_differ_much_are_on_a_logarithmic_axis() -> None:
    record = modalities()
    assert "logarithmic" not in page(record).text
    record["seeds"][0]["alone"]["sound"]["validation"][0] = 900.0
    assert "on the same axes, with a logarithmic loss;" in page(record).text
    for seed in record["seeds"]:
        for each in seed["alone"].values():
            each["validation"] = [math.inf for _ in each["validation"]]
    assert "No validation loss of a single modality is recorded." in page(record).text


def test_numbers_as_targets_have_their_own_scores_and_no_right_choice() -> None:
    record = modalities(classes=False)
    assert headings(read_modalities(record))[:3] == [
        *("Test R²", "Mean absolute error (lower is better)", "Correlation"),
    ]
    found = page(record)
    assert not any(each[0][0] == "First choice of" for each in map(rows, found.all("table")))
    assert table(record, "Modality")[0] == ["Modality", "Mean weight"]
    assert "where a modality is right" not in found.text.lower()
    assert f"Weights of {OURS}" in (picture(record, "Weights").attributes["aria-label"] or "")


def test_methods_without_weights_have_no_pictures_of_them() -> None:
    record = modalities()
    for seed in record["seeds"]:
        for each in seed["methods"].values():
            each["trust"] = None
    assert "No method in this record has modality weights" in page(record).text
    assert len(page(record).all("svg", role="img")) == 2


def test_the_facts_say_how_it_was_made() -> None:
    text = page(modalities()).text
    assert "1 million floating-point operations of training per method and seed" in text
    assert "400,000 for the modalities alone" in text
    assert "0.001 and 0.003, and more beyond an edge" in text
    assert "beyondprop modalities --task spoken" in text
    assert "torch 2.13.0+cpu" in text


def test_every_picture_and_table_is_explained() -> None:
    found = page(modalities())
    for section in found.all("section"):
        if section.all("figure"):
            (caption,) = section.all("p", class_="caption")
            assert caption.text.count(". ") == 0  # one sentence
    assert [each.text for each in found.all("section", id="modal-terms")]


@pytest.mark.parametrize("names", [("only",), tuple(f"a rather long name {i}" for i in range(9))])
def test_one_modality_or_many_have_room(names: tuple[str, ...]) -> None:
    for svg in page(modalities(names, seeds=(0, 1), methods=FEW)).all("svg", role="img"):
        width, height = map(float, (svg.attributes["viewbox"] or "").split()[2:])
        for text in svg.all("text"):
            x, y = text_place(text)
            assert 0 <= y <= height
            assert x <= width
            if text.text.startswith("…"):
                assert x + 7.4 * len(text.text) <= width + 1


def text_place(text: Element) -> tuple[float, float]:
    """Return where a text lies, by its own place or its transform."""
    own = text.attributes.get("transform") or ""
    if moved := re.search(r"translate\(([\d.-]+)[ ,]+([\d.-]+)\)", own):
        return float(moved[1]), float(moved[2])
    return float(text.attributes.get("x") or 0), float(text.attributes.get("y") or 0)


def test_what_a_record_says_is_never_markup() -> None:
    record = modalities((NASTY, "b"), seeds=(0, 1))
    record["spec"]["rule"] = NASTY
    record["provenance"]["command"] = NASTY
    for seed in record["seeds"]:
        seed["task"] |= {"name": NASTY, "data": NASTY, "metric": NASTY}
    fail(record, "UMT", 0)["seeds"][0]["methods"]["UMT"]["failed"] = NASTY
    root = page(record)
    assert [each.own_text for each in root.all("script")] == [[script().text]]
    assert not root.all("img")
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on")]
    assert root.text.count(NASTY) > 10


def test_the_page_is_whole_and_the_same_each_time() -> None:
    record = modalities(seeds=(0, 1), methods=FEW)
    text = report.render_modalities(record)
    assert text == report.render_modalities(json.loads(json.dumps(record)))
    assert not re.search(r"(src|href)=\"(?!#)|url\((?!#)|@import", text)
    ids = [i for element in read(text).all() if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))


def put(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{record['kind']}.json").write_text(json.dumps(record))
    return folder


def test_a_folder_shares_a_page_with_comparisons_and_distillations(tmp_path: Path) -> None:
    record = modalities(seeds=(0, 1), methods=FEW)
    put(tmp_path / "a", record)
    alone = report.write([tmp_path / "a"], tmp_path / "r.html").read_text()
    assert alone == report.render_modalities(record)
    put(tmp_path / "b", record)
    put(tmp_path / "c", distillation())
    put(tmp_path / "d", comparison(("backprop", "dfa"), seeds=(0, 1), epochs=1))
    found = read(report.write([tmp_path], tmp_path / "r.html").read_text())
    assert found.all("title")[0].text == (
        "BeyondProp: 1 comparison, 1 distillation and 2 modality comparisons"
    )
    assert len(found.all("article")) == 4
    ids = [i for element in found.all() if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))
    assert {"terms", "distillation-terms", "modal-terms"} <= set(ids)


def test_an_unfinished_folder_is_not_read_as_something_else(tmp_path: Path) -> None:
    alone = tmp_path / "seed-0" / "alone" / "sound" / "0.001"
    alone.mkdir(parents=True)
    (alone / "record.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"none of .*modalities.json.*`beyondprop modalities`.*--resume"
    ):
        report.write([tmp_path], tmp_path / "r.html")


def test_another_record_is_refused() -> None:
    with pytest.raises(UserError, match="not the record of a comparison of modalities"):
        report.render_modalities(distillation())
    with pytest.raises(UserError, match="record schema 2 and this version reads 1;"):
        report.render_modalities(modalities() | {"schema": 2})
    record = modalities()
    record["seeds"][1]["methods"].pop("UMT")
    with pytest.raises(UserError, match=r"damaged record .*seeds with other modalities or methods"):
        report.render_modalities(record)
