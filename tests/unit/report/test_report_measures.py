"""What the page says of measures: all of them, those of old records and those of other people."""

import json
from pathlib import Path
from typing import Any

import pytest
from html_tree import Element, read, rows
from report_records import comparison, measured, probe, run

from beyondprop import report
from beyondprop.errors import UserError
from beyondprop.report.old_records import of_schema_1

ALIGNMENT, ISOLATION = "Alignment with the true gradient", "On what each block's update depends"
RESULTS = Path(__file__).parents[3] / "results"


def section(record: dict[str, Any], title: str) -> Element:
    page = read(report.render(record))
    return next(s for s in page.all("section") if s.children[0].text == title)


def cells(shown: Element) -> list[list[str]]:
    return rows(shown.all("table", class_="dense")[0])


def three(**options: Any) -> dict[str, Any]:
    rules = ("backprop", "dfa", "frozen")
    return measured(comparison(rules, seeds=(0, 1), epochs=2, blocks=("1", "3"), **options))


def test_isolation_is_told_in_the_table_in_words_and_for_every_block() -> None:
    record = three()
    page = read(report.render(record))
    table = rows(page.all("table", class_="main")[0])
    assert table[0][5] == "Isolated"
    assert [line[5] for line in table[1:]] == ["no", "yes", "–"]
    shown = section(record, ISOLATION)
    words = shown.all("dl")[0]
    assert [term.text for term in words.all("dt")] == ["backprop", "DFA", "frozen"]
    assert words.all("dd")[1].text == "Every block learns without those after it."
    assert cells(shown) == [
        ["Block", "1", "3"],
        ["backprop", "0.31 dependent", "last"],
        ["DFA", "0 isolated", "last"],
        ["frozen", "not taught", "last"],
    ]
    hints = [cell.attributes.get("title") for cell in shown.all("td")]
    assert "isolated: on no later block" in hints


def test_the_verdict_of_runs_that_did_not_finish_is_told_too() -> None:
    record = three()
    for each in record["runs"][2:4]:
        each.update(status="diverged", test=None)
    assert ["DFA", "0 isolated", "last"] in cells(section(record, ISOLATION))


def test_alignment_is_told_with_norms() -> None:
    record = three()
    for each, value in zip(record["runs"][2:4], (0.25, 0.35), strict=True):
        each["measures"]["alignment"]["blocks"]["cosine"] = {"1": value, "3": 1.0}
    assert cells(section(record, ALIGNMENT))[2:] == [
        ["DFA", "0.30 norm 0.5", "1.00 norm 0.25"],
        ["frozen", "not taught norm 0.5", "1.00 norm 0.25"],
    ]


def void(record: dict[str, Any], rule: str, seeds: tuple[int, ...], epoch: int) -> None:
    """Have the alignment of block 1 be void from an epoch on."""
    note = "void: the true gradient's norm of 1e-12 is not above the floor of 1e-08"
    for each in record["runs"]:
        if each["rule"]["name"] == rule and each["seed"] in seeds:
            points = [point["measures"]["alignment"] for point in each["curve"][epoch:]]
            each["measures"]["alignment"]["words"] = f"block 1 is {note}."
            for figures in (*points, each["measures"]["alignment"]):
                figures["blocks"]["cosine"] = {**figures["blocks"]["cosine"], "1": None}
                figures["blocks"]["gradient_norm"] = {"1": 1e-12, "3": 0.25}
                figures["notes"] = {"1": note}


def test_a_void_alignment_is_shown_as_such() -> None:
    record = three()
    before = section(record, ALIGNMENT)
    void(record, "dfa", (0, 1), epoch=1)
    shown = section(record, ALIGNMENT)
    assert cells(shown)[2] == ["DFA", "void norm 1e−12", "1.00 norm 0.25"]
    assert "block 1 is void: the true gradient's norm" in shown.all("dl")[0].text
    assert "A cross at the bottom marks an epoch" in shown.text
    assert "A cross at the bottom" not in before.text
    label = shown.all("svg", role="img")[0].attributes["aria-label"] or ""
    assert label.endswith("void in some block at 2 epochs")
    crosses = [use for use in shown.all("use") if "var(--muted)" in str(use.attributes)]
    assert len(crosses) == 2
    assert not [use for use in before.all("use") if "var(--muted)" in str(use.attributes)]


def test_an_alignment_that_is_void_in_some_runs_is_the_mean_over_the_others() -> None:
    record = three()
    void(record, "dfa", (1,), epoch=2)
    kept = record["runs"][1]["measures"]["alignment"]["blocks"]["cosine"]["1"]
    assert record["runs"][1]["rule"]["name"] == "backprop"
    kept = record["runs"][2]["measures"]["alignment"]["blocks"]["cosine"]["1"]
    assert cells(section(record, ALIGNMENT))[2][1] == f"{kept:.2f} norm 0.25 void in 1 of 2"


def test_a_measure_that_failed_is_told() -> None:
    record = measured(probe(comparison(("dfa",), seeds=(0, 1), epochs=1)))
    for each in record["runs"]:
        del each["measures"]["isolation"]["blocks"]
        each["measures"]["isolation"].update(words="", failure="block '3' did not run.")
    told = section(record, ISOLATION).all("dl")[0].text
    assert told == "DFA 2 runs could not be measured: block '3' did not run."


OWN = {
    "name": "energy",
    "title": "Energy of a step",
    "about": "What the meter on the socket said while the network was trained for a while.",
    "columns": [
        {
            "key": "energy_ratio",
            "label": "energy",
            "meaning": "relative to backprop",
            "unit": "×",
            "cost": True,
            "beside": [{"key": "joules", "label": "joules", "form": ".1f", "unit": " J"}],
        }
    ],
    "block_columns": [{"key": "energy", "label": "energy", "form": ".0f", "unit": " J"}],
}


def with_own_measure() -> dict[str, Any]:
    """A record of a measure that is not installed here."""
    record = three()
    record["measures"]["energy"] = OWN
    for row in record["rows"]:
        row.update(energy_ratio=0.5, joules=12.34)
    for each in record["runs"]:
        figures = {"blocks": {"energy": {"1": 3, "3": 9}}, "words": "Little is needed."}
        each["measures"]["energy"] = OWN | figures
    return record


def test_a_measure_that_is_not_installed_is_shown_like_any_other() -> None:
    page = read(report.render(with_own_measure()))
    table = rows(page.all("table", class_="main")[0])
    assert table[0][8] == "Energy"
    assert table[2][8] == "0.50× 12.3 J"
    shown = section(with_own_measure(), "Energy of a step")
    assert cells(shown)[2] == ["DFA", "3 J", "9 J"]
    assert "Little is needed." in shown.text
    terms = page.all("section", id="terms")[0]
    assert "Energy of a step" in [term.text for term in terms.all("dt")]
    labels = [svg.attributes["aria-label"] or "" for svg in page.all("svg", role="img")]
    assert any("against energy: backprop" in label for label in labels)


def test_single_runs_show_their_measures_too(tmp_path: Path) -> None:
    for each in with_own_measure()["runs"]:
        folder = tmp_path / f"{each['rule']['name']}-{each['seed']}"
        folder.mkdir()
        each["measures"]["energy"]["values"] = {"energy_ratio": 0.25}
        (folder / "record.json").write_text(json.dumps(each))
    page = read(report.write([tmp_path], tmp_path / "r.html").read_text())
    table = rows(page.all("table", class_="main")[0])
    assert table[0][4:7] == ["Alignment", "Isolated", "Energy"]
    assert [line[6] for line in table[1:]] == ["0.25×"] * 3
    assert [line[5] for line in table[1:]] == ["no", "yes", "–"]


def test_a_run_without_its_origin_is_shown(tmp_path: Path) -> None:
    record = with_own_measure()["runs"][0]
    del record["provenance"]
    (tmp_path / "record.json").write_text(json.dumps(record))
    assert report.write([tmp_path], tmp_path / "r.html").exists()


def test_what_an_old_record_lacks_is_not_measured() -> None:
    record = comparison(("backprop", "dfa"), seeds=(0,), epochs=1, blocks=("1", "3"))
    assert section(record, ISOLATION).all("p", class_="missing")[0].text == "Not measured."
    line = cells(section(record, ALIGNMENT))[1]
    assert line == ["backprop", "1.00 norm not measured", "1.00 norm not measured"]


def test_an_old_run_becomes_a_new_one() -> None:
    old = run("dfa", 0, epochs=1, blocks=("1", "3"))
    cosines = old["curve"][-1]["alignment"]
    found = of_schema_1(old)["measures"]
    assert list(found) == ["alignment"]
    assert found["alignment"]["blocks"] == {"cosine": cosines}
    assert found["alignment"]["values"] == {"alignment": cosines["1"]}


@pytest.mark.parametrize("name", ["digits-mlp.json", "digits-conv.json"])
def test_old_results_are_still_read(name: str) -> None:
    (path,) = (RESULTS / "comparisons").glob(name)
    record = json.loads(path.read_text())
    record["runs"] = [each for each in record["runs"] if each["seed"] == record["seeds"][0]]
    shown = section(record, ISOLATION)
    if record["schema"] == 1:
        assert shown.all("p", class_="missing")[0].text == "Not measured."
    assert len(rows(read(report.render(record)).all("table", class_="main")[0])) > 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record["measures"]["alignment"].pop("title"),
        lambda record: record["measures"]["alignment"]["columns"][0].update(form="%%"),
        lambda record: record["measures"]["alignment"]["columns"][0].update(colour="red"),
        lambda record: record["runs"][0]["measures"].update(alignment={"blocks": [1]}),
        lambda record: record["runs"][0]["measures"].update(
            alignment={"blocks": {"cosine": {"1": "large"}}}
        ),
    ],
)
def test_damaged_measures_are_refused(damage: Any) -> None:
    record = three()
    damage(record)
    with pytest.raises(UserError, match="damaged record"):
        report.render(record)
