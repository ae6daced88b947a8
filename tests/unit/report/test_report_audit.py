"""The page of an audit: what it says, does not claim, and draws."""

import json
import math
import re
import statistics
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from audit_records import RULES, audit, fail
from html_tree import Element, read, rows
from report_records import comparison
from rich.progress import Progress
from scipy.stats import t

from beyondprop import report
from beyondprop.errors import UserError
from beyondprop.experiment.audit_spec import AuditSpec
from beyondprop.experiment.auditing import audit as ask
from beyondprop.experiment.comparison import compare
from beyondprop.experiment.spec import CompareSpec
from beyondprop.report.audited.facts import facts, run_lines
from beyondprop.report.audited.failures import failures
from beyondprop.report.audited.headline import headline, summary
from beyondprop.report.audited.notes import notes, warnings
from beyondprop.report.audited.read import read_audit
from beyondprop.report.audited.verdicts import line
from beyondprop.report.pages import script

NASTY = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}"""
QUIET = Progress(disable=True)
VERDICTS = "above backprop|below backprop|no significant difference|not compared"
KEYS = {
    "forgetting": "forgetting",
    "robustness": "withstood",
    "calibration": "named.equal_width.error",
}


def page(record: dict[str, Any]) -> Element:
    return read(report.render_audit(record))


def said(record: dict[str, Any], section: str) -> str:
    """Return the verdict of a section over all rules."""
    found = read_audit(record)
    return line(found, next(each for each in found.sections if each.name == section))


def values(record: dict[str, Any], rule: str, section: str) -> list[float]:
    found = read_audit(record)
    return [run.figures[section][KEYS[section]] or 0.0 for run in found.of(rule)]


def interval(first: list[float], second: list[float] | None = None) -> tuple[float, float]:
    """Student's interval of the mean difference of pairs, written again."""
    second = [0.0] * len(first) if second is None else second
    differences = [a - b for a, b in zip(first, second, strict=True)]
    count, mean = len(differences), statistics.mean(differences)
    half = t.ppf(0.975, count - 1) * statistics.stdev(differences) / math.sqrt(count)
    return mean - half, mean + half


def claims(text: str) -> dict[str, str]:
    """Return the verdict on each rule that a line names."""
    found = {}
    for part in text.split("; "):
        verdict, _, rest = part.partition(": ")
        if re.fullmatch(VERDICTS, verdict):
            for name in ("FA", "DFA", "frozen"):
                if re.search(rf"\b{name}\b", rest):
                    found[name] = verdict
    return found


@pytest.mark.parametrize("section", list(KEYS))
@pytest.mark.parametrize(("noise", "seeds"), [(0.001, 5), (0.01, 2), (0.01, 4), (0.05, 3)])
def test_a_verdict_claims_nothing_that_an_interval_does_not_show(
    section: str, noise: float, seeds: int
) -> None:
    verdicts = set()
    for trial in range(8):
        own = range(10 * trial, 10 * trial + seeds)
        ends = {"fa": 0.8 + 0.01 * trial, "dfa": 0.78, "frozen": 0.8}
        record = audit(seeds=own, sections=(section,), ends=ends, noise=noise)
        made = claims(said(record, section))
        assert set(made) == {"FA", "DFA", "frozen"}
        for name, verdict in made.items():
            base = values(record, "backprop", section)
            low, high = interval(values(record, name.lower(), section), base)
            assert verdict != "above backprop" or low > 0
            assert verdict != "below backprop" or high < 0
            verdicts.add(verdict)
    assert "no significant difference" in verdicts
    if noise == 0.001:
        assert {"above backprop", "below backprop"} <= verdicts


def test_a_verdict_has_its_figure_and_interval_and_the_table_has_the_same() -> None:
    record = audit(ends={"dfa": 0.5}, seeds=range(5), sections=("forgetting",))
    base, other = (values(record, rule, "forgetting") for rule in ("backprop", "dfa"))
    low, high = interval(base)
    mean = f"{statistics.mean(base):.3f} ± {(high - low) / 2:.3f}"
    text = said(record, "forgetting")
    assert text.startswith(
        f"Forgetting at the end (lower is better): backprop {mean}; above backprop: "
    )
    low, high = interval(other, base)
    assert f"DFA (+{(low + high) / 2:.3f} ± {(high - low) / 2:.3f})" in text
    assert text.endswith("(5 seeds).")
    (table,) = [each for each in map(rows, page(record).all("table")) if "Floor" in each[0]]
    assert table[0] == ["Rule", "Test accuracy", "Kept", "Forgotten", "Floor", "Ceiling"]
    assert table[1][0] == "backprop"
    assert table[1][3] == mean
    assert table[1][4] == "0.180 ± 0.000"
    scores = [run["score"] for run in record["runs"] if run["rule"] == "backprop"]
    assert table[1][1].startswith(f"{100 * statistics.mean(scores):.1f}% ± ")


def test_holm_is_over_all_rules_and_figures_of_a_section() -> None:
    """A difference that one test of its own would tell is not told among many."""
    shift = [0.03, 0.04, 0.05]
    alone = audit(rules=("backprop", "dfa"), sections=("calibration",), noise=0.0)
    many = audit(rules=("backprop", "dfa", *"abcdef"), sections=("calibration",), noise=0.0)
    for record in (alone, many):
        for run in record["runs"]:
            more = shift[run["seed"]] if run["rule"] == "dfa" else 0.0
            if run["rule"] in "abcdef":
                more = 0.01 * (run["seed"] - 1)
            run["answers"]["calibration"]["named"]["equal_width"]["error"] = 0.1 + more
    assert "above backprop: DFA" in said(alone, "calibration")
    assert "above backprop" not in said(many, "calibration")
    assert "no significant difference: all 7 other rules, from" in said(many, "calibration")


def test_the_headline_says_which_rules_differ_in_which_sections() -> None:
    record = audit(ends={"dfa": 0.5}, seeds=range(4), sections=("forgetting", "calibration"))
    for run in record["runs"]:
        run["answers"]["calibration"]["named"]["equal_width"]["error"] = 0.1 + 0.01 * run["seed"]
    text = headline(read_audit(record))
    assert text == (
        "digits-mlp, compared with backprop: DFA differs significantly in forgetting;"
        " no rule differs significantly in calibration (4 seeds)"
    )
    assert page(record).all("h1")[0].text == text
    every = audit(ends={"backprop": 0.2}, sections=("forgetting", "calibration"), seeds=range(4))
    told = "all 3 other rules differ significantly in forgetting and calibration"
    assert told in headline(read_audit(every))


def test_one_seed_supports_no_comparison() -> None:
    record = audit(seeds=(7,), ends={"dfa": 0.2})
    found = read_audit(record)
    assert headline(found) == "digits-mlp: 4 rules audited; one seed supports no comparison"
    assert "One seed gives no interval" in " ".join(summary(found))
    for section in found.sections:
        text = line(found, section)
        assert text.endswith("one seed supports no comparison.")
        assert text.count("no comparison") == 1
        assert "backprop" in text
        assert "DFA" in text
        assert not re.search("above|below|±", text)
    few = audit(seeds=(7,), sections=("forgetting", "robustness", "calibration"))
    assert "±" not in page(few).text
    assert not notes(found, "forgetting")


def test_without_backprop_rules_stand_beside_one_another() -> None:
    record = audit(rules=("dfa", "fa"), ends={"fa": 0.3}, seeds=range(4))
    found = read_audit(record)
    assert headline(found) == "digits-mlp: 2 rules audited, without backprop"
    assert "Missing controls: backprop and frozen." in summary(found)
    assert re.search(
        r"significant differences: DFA is below FA \(−0.5\d+ ± ", said(record, "forgetting")
    )
    record = audit(rules=("dfa", "fa"), noise=0.05, sections=("forgetting", "explanations"))
    assert "no two of the 2 rules differ significantly" in said(record, "forgetting")
    page(record)


@pytest.mark.parametrize("rule", ["backprop", "dfa"])
def test_one_rule_has_its_figures_alone(rule: str) -> None:
    record = audit(rules=(rule,), sections=("explanations", "calibration"))
    assert re.search(r"0\.\d+ ± 0\.\d+ \(3 seeds\)\.$", said(record, "calibration"))
    assert "audited" in headline(read_audit(record))
    text = page(record).text
    assert "Agreement with backprop" in text if rule == "backprop" else "Agreement" not in text


def test_rules_with_fewer_seeds_are_paired_where_both_are_there() -> None:
    record = audit(seeds=range(4), sections=("calibration",), ends={"dfa": 0.4})
    record["runs"] = [r for r in record["runs"] if (r["rule"], r["seed"]) != ("dfa", 0)]
    text = said(record, "calibration")
    first = values(record, "dfa", "calibration")
    low, high = interval(first, values(record, "backprop", "calibration")[1:])
    assert f"DFA (+{(low + high) / 2:.3f} ± {(high - low) / 2:.3f})" in text
    assert text.endswith("(3 to 4 seeds).")
    assert "seeds with a result: DFA 3 of 4" in page(record).text
    one = audit(sections=("calibration",))
    one["runs"] = [r for r in one["runs"] if r["rule"] != "dfa" or r["seed"] == 0]
    assert "not compared: DFA" in said(one, "calibration")


def test_the_floor_is_told() -> None:
    record = audit(sections=("forgetting",), seeds=range(4))
    for run in record["runs"]:
        answer = run["answers"]["forgetting"]
        draw = 0.001 * (run["seed"] - 1.5)
        answer["average"] = (0.18 if run["rule"] == "dfa" else 0.4) + draw
    (told,) = notes(read_audit(record), "forgetting")
    assert told.startswith(
        "At the end, backprop, FA and frozen score significantly above the floor"
    )
    assert told.endswith("knows only the last experience; DFA does not.")
    assert told in page(record).text


def test_gradients_that_mask_are_a_warning() -> None:
    record = audit(sections=("robustness",))
    (told,) = warnings(read_audit(record), "robustness")
    assert told.startswith("Masked gradients: for DFA (3 of 3 runs)")
    shown = page(record)
    assert told in [each.text for each in shown.all("p", class_="trouble")]
    assert "a ring marks" in shown.text
    clear = page(audit(sections=("robustness",), masked=""))
    assert "Masked gradients: for" not in clear.text
    assert "a ring marks" not in clear.text


def test_who_fares_worst_is_told_rule_by_rule_where_rules_differ() -> None:
    record = audit(sections=("fairness",))
    by_gender, by_race = notes(read_audit(record), "fairness")
    assert by_gender == (
        "By gender, least often classified as '>50K': female, with every rule and seed. In the test"
        " data, the groups differ by 0.190."
    )
    assert "white, with every" in by_race
    for run in record["runs"]:
        if run["rule"] == "dfa" and run["seed"] < 2:
            run["answers"]["fairness"]["attributes"]["gender"]["worst"]["selection_rate"] = "male"
    by_gender, _ = notes(read_audit(record), "fairness")
    assert "backprop female (3 runs)" in by_gender
    assert "DFA male (2 runs) and female (1 run)" in by_gender
    text = page(record).text
    assert "; too small to compare: few." in text
    head = next(each[0] for each in map(rows, page(record).all("table")) if len(each[0]) > 5)
    assert "Demographic parity difference, gender" in head


def test_reasons_of_failures_are_told_once_with_the_runs() -> None:
    record = audit(rules=("backprop", "dfa"), sections=("forgetting", "explanations", "minima"))
    record = fail(record, "explanations", "'explanations' needs captum: pip install", ())
    fail(record, "minima", "the second derivatives are not finite", ("dfa",))
    found = read_audit(record)
    (whole,), (some,) = failures(found, "explanations"), failures(found, "minima")
    assert whole.where == "every run"
    assert some.where == "3 runs"
    assert some.names == ("DFA, seed 0", "DFA, seed 1", "DFA, seed 2")
    shown = page(record)
    assert shown.text.count("needs captum") == 1
    assert shown.text.count("second derivatives are not finite") == 1
    assert "No result for every run: 'explanations' needs captum" in shown.text
    assert not failures(found, "forgetting")
    assert "DFA" not in said(record, "minima")


def test_pairs_of_runs_that_fail_alone_are_told() -> None:
    record = audit(sections=("minima",))
    for pair in record["beside"]:
        if pair["runs"][0].startswith("dfa"):
            kept = {key: pair[key] for key in ("section", "runs")}
            pair.clear()
            pair.update(kept | {"failed": "the two networks differ"})
    (told,) = failures(read_audit(record), "minima")
    assert told.where == "4 pairs of runs"
    shown = page(record)
    assert shown.text.count("the two networks differ") == 1
    record["beside"] = []
    assert "Between two seeds" not in page(record).text


def test_networks_that_cannot_be_matched_are_told() -> None:
    record = audit(sections=("minima",))
    for pair in record["beside"]:
        if pair["runs"][0].startswith("fa"):
            pair |= {"matched": None, "unmatched": "its units are in no order"}
    assert "(no matching for FA)" in page(record).text


def test_a_section_of_ones_own_has_a_table_and_its_first_figure() -> None:
    record = audit(sections=("calibration",))
    record["sections"]["sure"] = {
        "question": "How sure is it?",
        "columns": [{"key": "sure", "label": "sureness", "form": ".2f"}],
    }
    for run in record["runs"]:
        own = 0.8 if run["rule"] == "dfa" else 0.5
        run["answers"]["sure"] = {"sure": own + 0.01 * run["seed"], "verdict": "It is sure"}
    text = said(record, "sure")
    assert text.startswith("Sureness: backprop 0.51 ± 0.02; above backprop: DFA (+0.30 ± 0.00)")
    shown = page(record)
    assert "How sure is it?" in [each.text for each in shown.all("h2")]
    for run in record["runs"]:
        run["answers"]["sure"] = {"verdict": "It says nothing"}
    assert said(record, "sure") == "No run has a figure for this section."
    assert "It says nothing" in page(record).text


def test_sections_come_in_the_order_of_the_record_and_every_picture_is_explained() -> None:
    record = audit()
    shown = page(record)
    asked = [each["question"] for each in record["sections"].values()]
    assert [each.text for each in shown.all("h2")][: len(asked)] == asked
    links = [each.attributes["href"] for each in shown.all("a")]
    for section in shown.all("section"):
        if not section.all("p", class_="verdict"):
            continue
        assert f"#{section.attributes['id']}" in links
        assert len(section.all("p", class_="verdict")) == 1
        captions = [each.text for each in section.all("p", class_="caption")]
        assert len(captions) == len(section.all("h3")) + 1  # that of the table
        for caption in captions:
            assert caption.endswith(".")
            assert ". " not in caption  # one sentence
        for drawn in section.all("svg", role="img"):
            assert drawn.attributes["aria-label"]
    titles = {each.text for each in shown.all("h3")}
    assert titles >= {
        *("Between floor and ceiling", "Scores after each experience"),
        *("Accuracy against ε", "Common corruptions", "Agreement with backprop"),
        *("Faithfulness of the explanations", "Test sample 3, truly 3"),
        *("Groups by gender", "Groups by race", "Loss along a random direction"),
        *("Loss around the minimum", "Curvature of the loss", "Between two seeds", "Reliability"),
    }


def picture(record: dict[str, Any], start: str) -> Element:
    """Return the picture whose description begins so."""
    drawn = page(record).all("svg", role="img")
    return next(e for e in drawn if (e.attributes["aria-label"] or "").startswith(start))


def test_a_matrix_has_the_means_of_its_scores() -> None:
    record = audit(sections=("forgetting",))
    answers = [r["answers"]["forgetting"] for r in record["runs"] if r["rule"] == "dfa"]
    texts = [each.text for each in picture(record, "Scores of DFA").all("text")]
    mean = statistics.mean(each["rows"][4][0] for each in answers)
    assert f"{100 * mean:.0f}" in texts
    kept = statistics.mean(each["average"] for each in answers)
    assert f"kept {100 * kept:.1f}%, floor 18.0%, ceiling 90.0%" in texts


def test_experiences_are_named_unless_their_names_are_their_numbers() -> None:
    record = audit(sections=("forgetting",))
    assert "down to the last row (1 is 0, 1; 2 is 2, 3; 3 is 4, 5;" in page(record).text
    for run in record["runs"]:
        run["answers"]["forgetting"]["experiences"] = [f"order {i}" for i in range(1, 6)]
    assert "dark from the diagonal down to the last row." in page(record).text


def told(tip: Element) -> str:
    return tip.attributes["data-tip"] or ""


@pytest.mark.parametrize("image", [True, False])
def test_every_figure_tells_its_points_and_belongs_to_rules(image: bool) -> None:
    record = audit(image=image, seeds=(0, 1), noise=0.0)
    found = {
        svg.attributes["aria-label"] or "": svg.all("circle", class_="tip")
        for svg in page(record).all("svg", role="img")
    }
    silent = [label for label, tips in found.items() if not tips]
    assert silent == []

    def of(start: str) -> list[Element]:
        return next(tips for label, tips in found.items() if label.startswith(start))

    answers = [r["answers"]["forgetting"] for r in record["runs"] if r["rule"] == "backprop"]
    kept = statistics.mean(each["average"] for each in answers)
    assert told(of("Kept at the end")[0]).startswith(f"backprop {100 * kept:.1f}%")
    assert re.fullmatch(r"DFA, after 1: \d+\.\d% of 1", told(of("Scores of DFA")[0]))
    calm = told(of("Reliability of FA")[0])
    assert re.fullmatch(r"FA, confidence \d+%: \d+% right of \d+ test samples?", calm)
    if image:
        assert re.fullmatch(r"row 1, column 1: value [\d.]+", told(of("Test sample")[0]))
        map_of = next(tips for label, tips in found.items() if " says " in label)
        assert re.fullmatch(
            r"row 1, column 1: integrated gradients \N{MINUS SIGN}?[\d.]+", told(map_of[0])
        )
    keys = {tip.attributes.get("data-rule") for tip in of("Share judged")}
    assert keys == {"r0", "r1", "r2", "r3"}


def test_samples_are_of_the_first_seed_and_have_a_list_and_a_picture_a_rule() -> None:
    record = audit(sections=("explanations",), seeds=(4, 5))
    shown = page(record)
    assert len([e for e in shown.all("h3") if e.text.startswith("Test sample")]) == 3
    first = record["runs"][0]["answers"]["explanations"]["interactions"]["shown"][0]
    own = first["most"][0]
    size = f"{own['effect']:+.3g}".replace("-", "\N{MINUS SIGN}")
    assert f"answers {first['answer']}: {own['of'][0]} ({size});" in shown.text
    assert "(seed 4)" in shown.text
    pictures = [e.attributes["href"] or "" for e in shown.all("image")]
    assert len(pictures) == 3 * (1 + 2 * len(RULES))
    assert all(each.startswith("data:image/png;base64,") for each in pictures)
    table = page(audit(sections=("explanations",), image=False))
    assert not table.all("image")
    assert "features 13 to 20" in table.text


def test_the_facts_say_how_it_was_made() -> None:
    record = audit(sections=("calibration",))
    record["spec"]["sections"] = ["calibration", {"section": "minima", "samples": 100}]
    found = read_audit(record)
    told = {fact.term: fact.text for fact in facts(found)}
    assert told["Sections"] == "calibration and minima(samples=100)"
    assert told["Command"] == "beyondprop audit runs/compared"
    assert told["Seeds"] == "0, 1 and 2"
    assert run_lines(found)[0][3] == record["runs"][0]["weights_sha256"][:12]
    text = page(record).text
    assert "torch 2.13.0+cpu" in text
    assert record["runs"][-1]["weights_sha256"][:12] in text
    assert "It is surer than it is right" in text


def test_seven_rules_with_three_seeds_have_room_and_few_bytes() -> None:
    rules = ("backprop", "fa", "dfa", "sign-symmetry", "local(head=a(b=2))", "frozen")
    record = audit(rules=(*rules, "backprop, digits-slots with a long name"))
    text = report.render_audit(record)
    assert len(text) < 1_500_000
    assert "backprop (digits-slots with a long name)" in read(text).text
    for svg in read(text).all("svg", role="img"):
        width, height = map(float, (svg.attributes["viewbox"] or "").split()[2:])
        for each in svg.all("text"):
            x, y = place(each)
            assert 0 <= y <= height
            assert 0 <= x <= width
            if "…" in each.text:
                assert x + 7.4 * len(each.text) <= width + 30


def place(text: Element) -> tuple[float, float]:
    """Return where a text lies, by its own place or its transform."""
    own = text.attributes.get("transform") or ""
    if moved := re.search(r"translate\(([\d.-]+)[ ,]+([\d.-]+)\)", own):
        return float(moved[1]), float(moved[2])
    return float(text.attributes.get("x") or 0), float(text.attributes.get("y") or 0)


def test_figures_that_are_missing_are_no_harm() -> None:
    record = audit(rules=("backprop", "dfa"), seeds=(0, 1))
    own = record["runs"][2]["answers"]
    own["minima"]["landscape"]["line"]["losses"][3] = None
    own["minima"]["landscape"]["plane"]["losses"] = [[None] * 9 for _ in range(9)]
    own["minima"]["sharpness"]["value"] = math.inf
    own["minima"]["curvature"]["smallest"] = -math.inf
    own["explanations"]["better_than_random"]["integrated gradients"]["deletion"]["mean"] = None
    for attribute in own["fairness"]["attributes"].values():
        attribute["differences"] = {}
        attribute["groups"] = []
        attribute["in_data"] = None
        attribute["worst"] = {}
    for pair in record["beside"]:
        if pair["section"] == "minima":
            pair["plain"]["losses"][5] = math.inf
            pair["plain"]["barrier"] = math.inf
        else:
            pair["methods"]["integrated gradients"]["agreement"] = {"mean": None, "interval": None}
    text = page(record).text
    assert "barrier not finite" in text
    assert re.search(r"nan\b(?!o)|\binf\b", text) is None


def test_what_a_record_says_is_never_markup() -> None:
    record = audit(rules=("backprop", NASTY), seeds=(0, 1))
    record["provenance"]["command"] = NASTY
    record["task"] |= {"name": NASTY, "data": NASTY, "metric": NASTY}
    for section in record["sections"].values():
        section["question"] = NASTY
        for column in section["columns"]:
            column |= {"label": NASTY, "meaning": NASTY}
    for run in record["runs"]:
        answers = run["answers"]
        for answer in answers.values():
            answer["verdict"] = NASTY
        answers["forgetting"]["experiences"][0] = NASTY
        answers["robustness"]["corruptions"][0] |= {"name": NASTY, "unit": NASTY}
        answers["fairness"]["favourable"] = NASTY
        answers["fairness"]["attributes"] = {NASTY: answers["fairness"]["attributes"]["gender"]}
        answers["explanations"]["interactions"]["shown"][0] |= {"answer": NASTY, "class": NASTY}
        run["weights_sha256"] = NASTY
    fail(record, "calibration", NASTY, ("backprop",))
    root = page(record)
    assert [each.own_text for each in root.all("script")] == [[script().text]]
    assert not root.all("img")
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on")]
    assert root.text.count(NASTY) > 10


def test_the_page_is_whole_and_the_same_each_time() -> None:
    record = audit(rules=("backprop", "dfa"), seeds=(0, 1))
    text = report.render_audit(record)
    assert text == report.render_audit(json.loads(json.dumps(record)))
    loaded = re.sub(r'<a [^>]*href="https://[^"]*"', "<a", text)  # links load nothing
    assert not re.search(r"(src|href)=\"(?!#|data:image/png)|url\((?!#)|@import", loaded)
    ids = [i for element in read(text).all() if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))


def put(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / f"{record['kind']}.json").write_text(json.dumps(record))
    return folder


def test_a_folder_shares_a_page_with_comparisons(tmp_path: Path) -> None:
    record = audit(rules=("backprop", "dfa"), seeds=(0, 1), sections=("calibration",))
    put(tmp_path / "a", record)
    alone = report.write([tmp_path / "a"], tmp_path / "r.html").read_text()
    assert alone == report.render_audit(record)
    put(tmp_path / "b", record)
    put(tmp_path / "c", comparison(("backprop", "dfa"), seeds=(0, 1), epochs=1))
    found = read(report.write([tmp_path], tmp_path / "r.html").read_text())
    assert found.all("title")[0].text == "BeyondProp: 1 comparison and 2 audits"
    ids = [i for element in found.all() if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))
    assert {"terms", "audit-terms"} <= set(ids)
    with pytest.raises(UserError, match=r"none of .*audit.json.*`beyondprop audit`"):
        report.write([put(tmp_path / "d", {"kind": "none"})], tmp_path / "r.html")


def without(record: dict[str, Any], *keys: str) -> dict[str, Any]:
    made = deepcopy(record)
    inner: Any = made
    for key in keys[:-1]:
        inner = inner[int(key)] if key.isdigit() else inner[key]
    inner.pop(int(keys[-1]) if keys[-1].isdigit() else keys[-1])
    return made


def test_another_record_is_refused() -> None:
    with pytest.raises(UserError, match="not the record of a finished audit"):
        report.render_audit({"kind": "comparison", "schema": 1})
    record = audit(rules=("backprop", "dfa"), seeds=(0, 1))
    with pytest.raises(UserError, match="record schema 2 and this version reads 1;"):
        report.render_audit(record | {"schema": 2})
    with pytest.raises(UserError, match=r"damaged record .*no runs or no sections"):
        report.render_audit(record | {"runs": [], "beside": []})
    with pytest.raises(UserError, match="a run twice"):
        report.render_audit(record | {"runs": [*record["runs"], record["runs"][0]]})
    square = without(record, "runs", "0", "answers", "forgetting", "rows", "2")
    with pytest.raises(UserError, match="is not square"):
        report.render_audit(square)
    map_ = without(
        record,
        *(
            "runs",
            "0",
            "answers",
            "explanations",
            "interactions",
            "shown",
            "0",
            "map",
            "values",
            "3",
        ),
    )
    with pytest.raises(UserError, match="the number of values is wrong"):
        report.render_audit(map_)
    grid = without(record, "runs", "1", "answers", "minima", "landscape", "plane", "losses", "0")
    with pytest.raises(UserError, match="is not square"):
        report.render_audit(grid)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("audited")
    spec = CompareSpec(
        task="digits-mlp",
        rules=("backprop", "dfa"),
        seeds=(0, 1),
        epochs=1,
        learning_rates=(1e-3,),
        measures=(),
        measure_cost=False,
    )
    compare(spec, folder / "runs", progress=QUIET)
    minima = {"samples": 50, "scored": 50, "probes": 2, "directions": 2, "fine": 5, "coarse": 3}
    minima |= {"steps": 2, "tested": 50, "eigenvalues": 2}
    sections = (
        {"section": "forgetting", "epochs": 1},
        {"section": "minima", **minima},
        {"section": "calibration", "resamples": 20},
    )
    ask(AuditSpec(sections=sections), [folder / "runs"], folder / "audit", progress=QUIET)
    return folder / "audit"


def test_what_an_audit_writes_becomes_a_page(audited: Path, tmp_path: Path) -> None:
    found = read(report.write([audited], tmp_path / "r.html").read_text())
    record = json.loads((audited / "audit.json").read_text())
    assert len(found.all("p", class_="verdict")) == 3
    assert not found.all("div", class_="missing")
    titles = [each.text for each in found.all("h3")]
    assert "Between two seeds" in titles
    assert "Reliability" in titles
    for run in record["runs"]:
        assert run["answers"]["forgetting"]["verdict"] in found.text
        assert run["weights_sha256"][:12] in found.text


@pytest.mark.slow
def test_attacks_and_explanations_become_a_page(audited: Path, tmp_path: Path) -> None:
    for package in ("captum", "pyautoattack", "PIL", "shapiq", "sklearn"):
        pytest.importorskip(package)
    few = {"samples": 6, "layered": 2, "stable": 2, "combined": 2, "pictured": 1, "pushed": 2}
    sections = (
        {"section": "robustness", "samples": 5, "epsilons": [0.05]},
        {"section": "explanations", **few, "image": [8, 8], "budget": 200, "steps": 8, "moves": 1},
    )
    runs = [audited.parent / "runs" / "runs" / f"{rule}-seed0" for rule in ("backprop", "dfa")]
    ask(AuditSpec(sections=sections), runs, tmp_path / "a", progress=QUIET)
    found = read(report.write([tmp_path / "a"], tmp_path / "r.html").read_text())
    titles = [each.text for each in found.all("h3")]
    assert titles[:4] == [
        *("Accuracy against ε", "Common corruptions", "Faithfulness of the explanations"),
        "Agreement with backprop",
    ]
    assert titles[4].startswith("Test sample")
    assert len(found.all("image")) == 1 + 2 * 2
    assert not found.all("div", class_="missing")
    assert len(found.all("p", class_="verdict")) == 2
