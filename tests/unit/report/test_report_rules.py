"""What pages tell of rules: full names, papers, and where nothing is known."""

import pytest
from audit_records import audit
from html_tree import Element, read
from report_records import comparison

from beyondprop import report
from beyondprop.report import rulebook
from beyondprop.report.rulebook import about
from beyondprop.rules import RULES

COMPARED = ("backprop", "dfa", "my.rules:Mine", "frozen")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_name_a_sentence_a_page_and_a_paper(rule: str) -> None:
    told = about(rule)
    assert told.title
    assert told.does.endswith(".")
    assert told.page
    assert bool(told.papers) == (rule != "frozen")
    for paper in told.papers:
        assert paper.address.startswith("https://")


def test_arguments_leave_a_rule_what_it_is_and_others_have_their_name_alone() -> None:
    assert about("dfa(projection=hadamard)").title == "Direct feedback alignment"
    assert about("linear").title == "Linear model"
    own = about("my.rules:Mine")
    assert (own.title, own.does, own.papers) == ("my.rules:Mine", "", ())


def test_a_rule_of_ones_own_is_told_by_its_runs() -> None:
    record = comparison(COMPARED, epochs=1)
    for run in record["runs"]:
        if run["rule"]["name"] == "my.rules:Mine":
            run["rule"] |= {"called": "mine", "does": "Mine: signs alone go back."}
    root = read(report.render(record))
    (entry,) = root.all("section", id="rules")
    assert "Mine: signs alone go back." in entry.text
    (table,) = root.all("section", id="c0-rules")[0].all("table")
    assert "mine" in [each.text for each in table.all("small")]


def test_rules_lead_to_what_is_told_of_them_and_to_their_papers() -> None:
    root = read(report.render(comparison(COMPARED, epochs=1)))
    (entry,) = root.all("section", id="rules")
    (dfa,) = entry.all("div", id="rule-r2")  # behind the controls
    assert "Direct feedback alignment" in dfa.text
    assert "https://arxiv.org/abs/1609.01596" in [a.attributes["href"] for a in dfa.all("a")]
    assert "A rule of your own." in entry.text
    (table,) = root.all("section", id="c0-rules")[0].all("table")
    links = [a.attributes["href"] for a in table.all("a")]
    assert links == [f"#rule-r{place}" for place in (0, 2, 3, 1)]


def test_pages_of_the_documentation_are_linked_where_an_address_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = "https://example.org/docs/"
    monkeypatch.setattr("beyondprop.report.build.documentation", lambda: known)
    page = report.render(comparison(("dfa",), seeds=(0,), epochs=1))
    assert f'href="{known}rules/direct-feedback-alignment.html"' in page


def test_the_documentation_is_what_the_package_names(monkeypatch: pytest.MonkeyPatch) -> None:
    class Named:
        def get_all(self, _: str) -> list[str]:
            return ["Source, https://example.org/code", "Documentation, https://example.org/site/"]

    monkeypatch.setattr(rulebook, "metadata", lambda _: Named())
    assert rulebook.documentation() == "https://example.org/site/docs/"


def shown(*rules: str) -> Element:
    """Return the page on rules, backprop and frozen among them."""
    return read(report.render(comparison(("backprop", *rules, "frozen"), seeds=(0,), epochs=1)))


def test_a_rule_of_your_own_goes_by_its_class_and_keeps_its_path_as_a_tip() -> None:
    page = shown("my_project.rules:Signs(scale=2.0)", "dfa(projection=my_project.light:Lamp)")
    table = next(e for e in page.all("table") if "main" in (e.attributes["class"] or ""))
    heads = {
        head.all("a")[0].text: head.attributes.get("title") for head in table.all("th", scope="row")
    }
    assert heads["Signs(scale=2.0)"] == "my_project.rules:Signs(scale=2.0)"
    assert heads["dfa(projection=Lamp)"] == "dfa(projection=my_project.light:Lamp)"
    assert heads["backprop"] is None
    paths = [code.text for code in page.all("code")]
    assert "my_project.rules:Signs(scale=2.0)" in paths
    assert "my_project" not in page.all("h1")[0].text


def test_rules_that_would_get_one_name_keep_their_modules() -> None:
    text = shown("mine:Signs", "yours:Signs", "mine:DFA", "other:Plain").text
    assert {"mine:Signs", "yours:Signs", "mine:DFA"} <= set(text.split())
    assert "other:Plain" not in text.partition("The rules")[0]


def test_audits_name_rules_so_too() -> None:
    page = read(report.render_audit(audit(("backprop", "my_project.rules:Signs", "frozen"))))
    heads = [each for each in page.all("th", scope="row") if each.attributes.get("title")]
    assert {each.attributes["title"] for each in heads} == {"my_project.rules:Signs"}
    assert {each.all("a")[0].text for each in heads} == {"Signs"}
