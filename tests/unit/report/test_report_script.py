"""The script of a page: it is whole, allowed by the page's policy, and its controls work."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from audit_records import audit
from html_tree import read
from modal_records import modalities
from report_records import comparison, measured, probe
from tests.browser import DESKTOP, PHONE, browser, needs_chromium

from beyondprop import report
from beyondprop.files import read_json
from beyondprop.report.pages import script

RULES = ("backprop", "dfa", "=danger|_%", "frozen")
MANY = (
    *("backprop", "fa", "kp", "brsf", "dfa", "dkp", "drtp", "ebd", "pepita"),
    *("my_project.rules:MyOwnRuleWithALongName", "frozen", "linear"),
)
TASKS = ("digits-mlp", "fashion-small", "shakespeare-post-micro")

HOOKS = """
window.files = [];
window.names = [];
const kept = URL.createObjectURL;
URL.createObjectURL = (blob) => { window.files.push(blob); return kept(blob); };
HTMLAnchorElement.prototype.click = function () { window.names.push(this.download); };
window.all = (selector) => [...document.querySelectorAll(selector)];
window.box = (rule) => all(".filter label").find((each) => each.textContent === rule).firstChild;
"""
SHOWN = (
    'all("#c0-rules tbody th a").filter((a) => !a.closest("[hidden]")).map((a) => a.textContent)'
)
RESULTS = Path(__file__).parents[3] / "results"
CUE = """document.querySelector("table.main").closest(".scroll").previousElementSibling"""
TIP = 'document.getElementById("tip").textContent'


def test_the_policy_lets_the_page_run_its_script_and_nothing_else() -> None:
    root = read(report.render(comparison(("dfa",), seeds=(0,), epochs=1)))
    (meta,) = [m for m in root.all("meta") if "http-equiv" in m.attributes]
    (only,) = root.all("script")
    digest = base64.b64encode(hashlib.sha256("".join(only.own_text).encode()).digest()).decode()
    policy = meta.attributes["content"] or ""
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not only.attributes


def test_the_script_sets_what_records_say_as_text_alone() -> None:
    text = script().text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
    assert "</" not in text  # or it would end the element


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_is_well_formed(tmp_path: Path) -> None:
    file = tmp_path / "page.js"
    file.write_text(script().text, "utf-8")
    made = subprocess.run(["node", "--check", str(file)], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr


def put(folder: Path, page: str) -> Path:
    file = folder / "page.html"
    file.write_text(page, "utf-8")
    return file


@needs_chromium
@pytest.mark.foreign
def test_every_control_works_by_keys_alone(tmp_path: Path) -> None:
    record = comparison(RULES, epochs=2)
    for row, score in zip(record["rows"], (0.98, 0.95, 0.99, 0.90), strict=True):
        row["score_mean"] = score
    file = put(tmp_path, report.render(record))
    with browser(tmp_path / "browser") as page:
        page.open(file)
        assert page.unreached() == {}
        page.told(HOOKS)
        before = ["backprop", "DFA", "=danger|_%", "frozen"]
        assert page.told(SHOWN) == before
        sort = 'all("#c0-rules .sort")[1]'
        assert page.told(f'{sort}.getAttribute("aria-label")') == "Sort by Test accuracy"
        page.focus(sort)
        page.press("Enter")
        assert page.told(SHOWN) == ["=danger|_%", "backprop", "DFA", "frozen"]
        assert page.told(f'{sort}.closest("th").getAttribute("aria-sort")') == "descending"
        page.press(" ", "Enter")
        assert page.told(SHOWN) == before
        page.focus('box("DFA")')
        page.press(" ")
        assert page.told(SHOWN) == ["backprop", "=danger|_%", "frozen"]
        assert page.told('all("figure svg [data-rule][hidden]").length') > 3
        page.press(" ")
        assert page.told(SHOWN) == before
        page.focus('all("figure svg[tabindex]")[0]')
        page.press("ArrowRight")
        assert page.told(TIP).startswith("DFA recovers")
        page.press("ArrowDown")
        assert page.told(TIP).startswith("=danger|_% recovers")
        page.press("Escape")
        assert page.told('document.getElementById("tip").hidden')
        for button in ("#c0-rules .tools button", "figure .tools button"):
            for place in range(page.told(f"all('{button}').length") if "rules" in button else 1):
                page.focus(f"all('{button}')[{place}]")
                page.press("Enter")
        *tables, figure = page.told("window.names")
        csv, latex, markdown, svg = page.told("Promise.all(files.map((blob) => blob.text()))")
    assert [name.rpartition(".")[2] for name in tables] == ["csv", "tex", "md"]
    assert tables[0].startswith("c0-results-by-rule")
    assert figure.endswith(".svg")
    assert csv.startswith("Rule,Test accuracy,±,Recovery")
    assert "\n'=danger|_%,99.0%" in csv
    assert "=danger|\\_\\%" in latex
    assert "\\begin{tabular}" in latex
    assert "| =danger\\|_% | 99.0% |" in markdown
    assert svg.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in svg
    assert "var(" not in svg
    assert 'class="tip"' not in svg


@needs_chromium
@pytest.mark.foreign
@pytest.mark.slow
def test_three_tasks_of_twelve_rules_are_read_whole_and_reached_by_tab(tmp_path: Path) -> None:
    for task in TASKS:
        record = measured(probe(comparison(MANY, seeds=(0, 1), epochs=3)))
        record["task"]["name"] = task
        (tmp_path / task).mkdir()
        (tmp_path / task / "comparison.json").write_text(json.dumps(record), "utf-8")
    file = report.write([tmp_path], tmp_path / "page.html")
    with browser(tmp_path / "browser") as page:
        assert page.faults(file) == {}
        page.open(file)
        assert page.unreached() == {}
        assert page.told("window.reached.size") > 300


@needs_chromium
@pytest.mark.foreign
def test_audits_and_modalities_are_read_whole_and_reached_by_tab(tmp_path: Path) -> None:
    pages = (report.render_audit(audit(seeds=(0,))), report.render_modalities(modalities()))
    with browser(tmp_path / "browser") as page:
        for each in pages:
            file = put(tmp_path, each)
            assert page.faults(file) == {}
            page.open(file)
            assert page.unreached() == {}
            assert page.told("window.reached.size") > 10


WIDE = """[...document.querySelectorAll("table.main")].map((table) => table.closest(".scroll"))
  .filter((box) => box.scrollWidth > box.clientWidth).length"""


@needs_chromium
@pytest.mark.foreign
@pytest.mark.parametrize("name", ["fashion-small", "cifar-conv"])
def test_the_table_of_rules_fits_a_usual_window_and_scrolls_on_a_phone(
    name: str, tmp_path: Path
) -> None:
    found = read_json(RESULTS / "comparisons" / f"{name}.json")
    file = put(tmp_path, report.render(found))
    with browser(tmp_path / "browser") as page:
        for scheme in ("light", "dark"):
            page.open(file, DESKTOP, scheme)
            assert page.told("document.querySelectorAll('table.main').length") == 1
            assert page.told(WIDE) == 0
            page.open(file, PHONE, scheme)
            assert page.told(WIDE) == 1
            assert page.told(f"{CUE}.hidden") is False
