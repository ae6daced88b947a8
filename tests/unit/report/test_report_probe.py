"""The picture of what each block has learned."""

import re
from typing import Any

import pytest
from html_tree import Element, read
from report_records import compare, comparison, run

from beyondprop import report
from beyondprop.errors import UserError

TITLE = "What each block has learned"


def probed(
    rules: tuple[str, ...] = ("backprop", "dfa", "frozen"), **options: Any
) -> dict[str, Any]:
    """Runs with a probe: the blocks of every rule, two seeds, the second a tenth better."""
    record = comparison(rules, seeds=(0, 1), epochs=1, **options)
    for each in record["runs"]:
        blocks = each["curve"][0]["alignment"]
        each["probe"] = {"input": 0.5 + 0.1 * each["seed"]}
        each["probe"] |= {b: 0.6 + 0.1 * each["seed"] + 0.05 * i for i, b in enumerate(blocks)}
    return record


def shown(record: dict[str, Any]) -> Element | None:
    sections = read(report.render(record)).all("section")
    return next((s for s in sections if s.children[0].text == TITLE), None)


def said(record: dict[str, Any]) -> str:
    section = shown(record)
    assert section is not None
    return " ".join(p.text for p in section.all("p"))


def described(record: dict[str, Any]) -> str:
    section = shown(record)
    assert section is not None
    (svg,) = section.all("svg", role="img")
    return svg.attributes["aria-label"] or ""


def test_means_over_seeds_are_told_for_every_rule() -> None:
    assert described(probed(("backprop", "dfa"), blocks=("1", "3"))) == (
        "Accuracy of a linear probe by block:"
        " backprop input 55.0%, 1 65.0%, 3 70.0%; DFA input 55.0%, 1 65.0%, 3 70.0%"
    )


def test_the_line_rises_from_the_raw_input_to_scale() -> None:
    record = probed(("dfa",), blocks=("1", "3"))
    for each in record["runs"]:
        each["probe"] = {"input": 0.2, "1": 0.6, "3": 0.8}
    section = shown(record)
    assert section is not None
    lines = {
        colour: [(float(x), float(y)) for x, y in re.findall(r"[ML] ([\d.]+) ([\d.]+)", d or "")]
        for path in section.all("path")
        for d in [path.attributes["d"]]
        for colour in re.findall(r"stroke: ([^;]+)", path.attributes.get("style") or "")
        if "fill: none" in (path.attributes.get("style") or "")
        and ("dasharray" in (path.attributes.get("style") or "")) == (colour == "var(--muted)")
    }
    (x0, y0), (x1, y1), (x2, y2) = lines["var(--rule-0)"]
    assert x2 - x1 == pytest.approx(x1 - x0, abs=0.1)
    assert (y0 - y1) / (y1 - y2) == pytest.approx(2, abs=0.01)
    dotted = lines["var(--muted)"]
    assert {y for _, y in dotted} == {y0}
    assert [x for x, _ in dotted] == [x0, x2]


def test_the_caption_says_what_is_drawn() -> None:
    text = said(probed())
    assert "The dotted line is the same classifier on the raw input" in text
    assert "Frozen shows the accuracy without learning" in text
    assert "up to 2 seeds" in text
    assert "could not" not in text
    assert "No probe" not in text
    assert "frozen" not in said(probed(("dfa",)))
    one = compare([each for each in probed(("dfa",))["runs"] if each["seed"] == 0])
    assert "seeds" not in said(one)


def test_records_without_a_probe_have_no_such_section() -> None:
    """Those that earlier versions wrote."""
    assert shown(comparison(epochs=1)) is None
    record = comparison(epochs=1)
    for each in record["runs"]:
        each.update(probe=None, probe_failure=None)
    assert shown(record) is None
    assert report.render(record) == report.render(comparison(epochs=1))


def test_a_probe_that_failed_is_told_and_the_other_seeds_shown() -> None:
    record = probed(("backprop", "dfa"), blocks=("1", "3"))
    record["runs"][3].update(probe=None, probe_failure="block '3' did not run")
    assert "DFA input 50.0%, 1 60.0%, 3 65.0%" in described(record)
    assert "1 run could not be probed: block '3' did not run." in said(record)
    record["runs"][2].update(probe=None)
    assert "DFA" not in described(record)
    assert "No probe is recorded for DFA." in said(record)
    for each in record["runs"]:
        each.update(probe=None, probe_failure="block '3' did not run.")
    assert said(record) == "4 runs could not be probed: block '3' did not run."


def test_runs_that_did_not_finish_are_not_drawn() -> None:
    record = probed(("dfa",), blocks=("1", "3"))
    record["runs"][1].update(status="diverged", test=None)
    assert described(record).endswith("DFA input 50.0%, 1 60.0%, 3 65.0%")


def test_a_rule_with_blocks_of_its_own_keeps_their_places() -> None:
    record = probed(("backprop", "dfa"), blocks=("1", "3"))
    for each in record["runs"][2:]:
        each["probe"] = {"3": 0.9, "head": None}
    assert described(record).endswith("3 70.0%; DFA 3 90.0%")


@pytest.mark.parametrize("blocks", [("1",), tuple(f"backbone.layers.{i}" for i in range(16))])
def test_of_many_blocks_those_are_named_for_which_there_is_room(blocks: tuple[str, ...]) -> None:
    section = shown(probed(blocks=blocks))
    assert section is not None
    texts = [text.text for text in section.all("text")]
    assert "input" in texts
    ends = [text for text in texts if text.endswith(blocks[-1][-4:])]
    assert len(ends) == 1
    assert len([text for text in texts if text.startswith("…")]) < 8
    assert "nan" not in str([path.attributes["d"] for path in section.all("path")])


def test_a_damaged_probe_is_refused() -> None:
    record = compare([run("dfa", 0, epochs=1)])
    record["runs"][0]["probe"] = [0.5]
    with pytest.raises(UserError, match="damaged record"):
        report.render(record)
