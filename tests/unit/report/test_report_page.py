"""The page as a document: well-formed, self-contained, escaped, the same every time."""

import json
import re
from typing import Any

import matplotlib as mpl
import pytest
from distilled_records import distillation, fail_budget, fail_way, without_facts
from html_tree import Element, read
from report_records import compare, comparison, diverge, measured, probe, realistic, run

from beyondprop import report
from beyondprop.report import read as report_read
from beyondprop.report.pages import script

NASTY = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;{{ 7 * 7 }}$x^2$"""


def numbers_gone(record: Any) -> Any:
    """`record` with every number that may be null gone: half of them null, half NaN."""
    kept = {"schema", "seed", "seeds", "epoch", "step", "runs", "finished", "diverged", "failed"}
    if isinstance(record, dict):
        return {
            key: value if key in kept and key != "runs" else numbers_gone(value)
            for key, value in record.items()
        } | ({"runs": numbers_gone(record["runs"])} if "runs" in record else {})
    if isinstance(record, list):
        return [numbers_gone(value) for value in record]
    if isinstance(record, float):
        return None if record < 0.9 else float("nan")
    return record


def bare() -> dict[str, Any]:
    """The least that is a comparison."""
    return {
        "schema": 1,
        "kind": "comparison",
        "task": {"name": "bare"},
        "rows": [],
        "runs": [],
    }


CASES = {
    "realistic": realistic,
    "one rule, one seed": lambda: comparison(("dfa",), seeds=(0,)),
    "no frozen": lambda: comparison(("backprop", "dfa")),
    "regression": lambda: comparison(classes=()),
    "a hundred classes": lambda: comparison(
        ("backprop", "dfa"), classes=tuple(f"class {i}" for i in range(100))
    ),
    "sixteen blocks": lambda: comparison(
        ("backprop", "dfa"), blocks=tuple(f"backbone.layers.{i}.mlp" for i in range(16))
    ),
    "one block": lambda: comparison(("backprop", "dfa"), blocks=("1",)),
    "no epoch": lambda: comparison(("backprop", "dfa"), epochs=0),
    "one epoch": lambda: comparison(("backprop", "dfa"), epochs=1),
    "many rules": lambda: comparison(
        ("backprop", *(f"my.module:Rule{i}" for i in range(12)), "frozen"), epochs=4
    ),
    "probed": lambda: probe(realistic()),
    "numbers gone": lambda: numbers_gone(probe(realistic())),
    "measured": lambda: measured(probe(realistic())),
    "measured, numbers gone": lambda: numbers_gone(measured(probe(realistic()))),
    "bare": bare,
    "distillation": distillation,
    "distillation, one seed": lambda: distillation(seeds=(3,)),
    "distillation, one neighbourhood": lambda: distillation(("0",), (0.7,)),
    "distillation, thirty neighbourhoods": lambda: distillation(
        tuple(f"backbone.encoder.layers.{i}.mlp" for i in range(30)), (0.8, 0.6, 0.4, 0.2)
    ),
    "distillation, failures": lambda: fail_way(fail_budget(distillation(), 0, (0, 2)), 1, 1),
    "distillation, nothing": lambda: fail_budget(distillation(budgets=(0.01,)), 0, (0, 1, 2)),
    "distillation, early": lambda: without_facts(distillation()),
    "distillation, numbers gone": lambda: distilled_numbers_gone(distillation()),
}


def rendered(record: dict[str, Any]) -> str:
    distilled = record["kind"] == "distillation"
    return (report.render_distillation if distilled else report.render)(record)


def distilled_numbers_gone(record: dict[str, Any]) -> dict[str, Any]:
    """`record` without the numbers that may be null."""
    for seed in record["seeds"]:
        students = [each for of in seed["students"].values() for each in of.values()]
        for number, found in enumerate(students):
            found |= {"error": None, "alone": float("nan") if number % 2 else None, "steps": None}
        for assembly in seed["assemblies"]:
            for way in assembly["ways"].values():
                way |= {"score": float("nan"), "validation_score": None}
        seed["teacher"]["score"] = None
    return record


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: rendered(make()) for name, make in CASES.items()}


@pytest.fixture(params=CASES)
def page(request: pytest.FixtureRequest, pages: dict[str, str]) -> str:
    return pages[request.param]


def test_tags_are_balanced_and_sections_have_headings(page: str) -> None:
    root = read(page)
    assert page.startswith("<!doctype html>")
    assert [child.tag for child in root.children] == ["html"]
    assert len(root.all("h1")) == 1
    assert root.all("h1")[0].text == root.all("title")[0].text
    for section in root.all("section"):
        assert section.children[0].tag == "h2"
        assert section.children[0].text


def test_nothing_is_fetched_from_elsewhere(page: str) -> None:
    outward = []
    for element in read(page).all():
        assert element.tag not in {"link", "iframe", "img", "object", "embed", "base"}
        assert not {"src", "srcset", "xlink:href"} & set(element.attributes)
        link = element.attributes.get("href") or "#"
        if not link.startswith("#"):  # a paper, which only a reader's press opens
            outward.append(link)
            assert element.tag == "a"
            assert link.startswith("https://")
            assert element.attributes["rel"] == "noopener"
    assert page.count("://") == len(outward)
    assert "@import" not in page
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))


def test_ids_are_unique_and_references_lead_somewhere(page: str) -> None:
    elements = read(page).all()
    ids = [i for element in elements if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))
    every = [link for element in elements if (link := element.attributes.get("href"))]
    links = [link[1:] for link in every if link.startswith("#")]
    assert set(links + re.findall(r"url\(#([^)]*)\)", page)) <= set(ids)


def test_absent_numbers_are_never_spelled_as_python_does(page: str) -> None:
    words = set(re.findall(r"[A-Za-z−]+", read(page).text))
    assert not words & {"nan", "NaN", "None", "null", "inf", "Undefined"}
    assert "nan" not in "".join(re.findall(r' d="([^"]*)"', page))


def test_figures_are_described_and_take_the_colours_of_the_page(page: str) -> None:
    for svg in read(page).all("svg", role="img"):
        assert len(svg.attributes["aria-label"] or "") > 20
        assert not svg.all("style")
        assert not svg.all("metadata")
        styles = " ".join(element.attributes.get("style") or "" for element in svg.all())
        assert "var(--muted)" in styles
        assert not re.search(r"#[0-9a-f]{3,6}", styles)
    # A variable that the style sheet does not define would show as black.
    defined = set(re.findall(r"(--[a-z0-9-]+):", page))
    assert set(re.findall(r"var\((--[a-z0-9-]+)\)", page)) <= defined


def test_every_colour_has_a_dark_variant(pages: dict[str, str]) -> None:
    light, dark = pages["realistic"].split("@media (prefers-color-scheme: dark)")
    names = set(re.findall(r"(--[a-z0-9-]+): ?(?:#|\d+ \d+)", light))
    assert len(names) >= 12
    assert all(f"{name}:" in dark.split("}")[0] for name in names)


def test_every_table_scrolls_in_its_own_container(page: str) -> None:
    root = read(page)
    assert len(root.all("table")) == sum(
        len(box.all("table")) for box in root.all("div", class_="scroll")
    )


def test_text_of_figures_stays_text(pages: dict[str, str]) -> None:
    texts = [text.text for svg in figures(pages["realistic"]) for text in svg.all("text")]
    assert {"DFA", "DRTP", "backprop", "frozen", "epoch"} <= set(texts)


def test_the_same_record_gives_the_same_bytes(pages: dict[str, str]) -> None:
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert report.render(realistic()) == pages["realistic"]
        assert mpl.rcParams["font.size"] == 30
    assert report.render(json.loads(json.dumps(realistic()))) == pages["realistic"]


def test_what_a_record_says_is_never_markup() -> None:
    runs = [run(rule, 0, epochs=2, classes=(NASTY, "b")) for rule in ("backprop", NASTY, "frozen")]
    diverge(runs[2], epoch=1)
    record = compare(runs)
    record["task"].update(name=NASTY, data=NASTY, metric=NASTY)
    record["provenance"]["command"] = NASTY
    record["provenance"]["versions"] = {NASTY: NASTY}
    record["provenance"]["hardware"] = {"cpu": NASTY}
    record["tuning"]["trials"][0].update(status=NASTY, validation_score=None)
    for each in runs:
        each["reason"] = NASTY
        each["rule"]["report"] = NASTY
        for point in each["curve"]:
            point["alignment"] = {NASTY: 0.5, "2": 1.0}
    root = read(report.render(record))
    assert [each.own_text for each in root.all("script")] == [[script().text]]
    assert not root.all("img")
    for element in root.all():
        assert not [name for name in element.attributes if name.startswith("on")]
    text = root.text
    assert text.count(NASTY) > 15
    assert "49" not in re.findall(r"amp;(\d+)", text)


def test_names_that_xml_or_utf8_cannot_hold_do_no_harm() -> None:
    record = json.loads(json.dumps(comparison(("dfa",), seeds=(0,), epochs=2)))
    odd = "bell\x07 surrogate\ud800 日本"
    record["rows"][0]["rule"] = record["runs"][0]["rule"]["name"] = odd
    label = figures(report.render(record))[0].attributes["aria-label"] or ""
    assert "bell surrogate 日本" in label


def test_damaged_records_are_refused_in_one_line() -> None:
    def without_seed(record: dict[str, Any]) -> None:
        del record["runs"][0]["seed"]

    def oblong(record: dict[str, Any]) -> None:
        record["runs"][0]["test"]["confusion"] = [[1, 2, 3], [4, 5, 6]]

    def smaller(record: dict[str, Any]) -> None:
        record["runs"][0]["test"]["confusion"] = [[1]]

    def words(record: dict[str, Any]) -> None:
        record["rows"][0]["score_mean"] = "very good"

    def newer(record: dict[str, Any]) -> None:
        record["schema"] = 3

    def other(record: dict[str, Any]) -> None:
        record["kind"] = "benchmark"

    for damage in (without_seed, oblong, smaller, words, newer, other):
        record = comparison(("dfa",), seeds=(0, 1), epochs=1)
        damage(record)
        with pytest.raises(report_read.UserError) as caught:
            report.render(record)
        assert "\n" not in str(caught.value)


def figures(page: str) -> list[Element]:
    return read(page).all("svg", role="img")
