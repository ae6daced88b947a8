"""The script of a page: it is whole, allowed by the page's policy, and its controls work."""

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from html_tree import read
from report_records import comparison

from beyondprop import report
from beyondprop.report.pages import script

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
RULES = ("backprop", "dfa", "=danger|_%", "frozen")

USE = """
const told = { names: [] };
const files = [];
const kept = URL.createObjectURL;
URL.createObjectURL = (blob) => { files.push(blob); return kept(blob); };
HTMLAnchorElement.prototype.click = function () { told.names.push(this.download); };
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
const press = (element, key) =>
  element.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const tip = () => document.getElementById("tip");
const table = document.querySelector("#c0-rules table");
const shown = () => all("tbody th a", table).filter((a) => !a.closest("[hidden]"));
const names = () => shown().map((a) => a.textContent);
told.before = names();
const sort = all("button.sort", table)[1];
told.label = sort.getAttribute("aria-label");
sort.click();
told.sorted = names();
told.order = sort.closest("th").getAttribute("aria-sort");
sort.click();
sort.click();
told.again = names();
const box = all(".filter label").find((each) => each.textContent === "DFA").firstChild;
box.click();
told.filtered = names();
told.marks = all("figure svg [data-rule][hidden]").length;
box.click();
const figure = document.querySelector("figure svg[tabindex]");
press(figure, "ArrowRight");
told.first = tip().textContent;
press(figure, "ArrowDown");
told.down = tip().textContent;
press(figure, "Escape");
told.closed = tip().hidden;
const controls = all("button, summary, input, select, a[href], svg[tabindex], .scroll");
told.reached = controls.every((each) => each.tabIndex === 0);
all("#c0-rules .tools button").forEach((each) => each.click());
all("figure .tools button")[0].click();
Promise.all(files.map((blob) => blob.text())).then((texts) => {
  told.files = texts;
  const out = document.createElement("pre");
  out.id = "told";
  out.textContent = JSON.stringify(told);
  document.body.append(out);
});
"""


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


def used(page: str, folder: Path) -> dict[str, Any]:
    """What a browser says of a page whose controls `USE` has worked."""
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    file = folder / "page.html"
    file.write_text(free.replace("</body>", f"<script>{USE}</script></body>"), "utf-8")
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    made = subprocess.run(
        [*command, "--virtual-time-budget=5000", f"--user-data-dir={folder}", file.as_uri()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    found = re.search(r'<pre id="told">(.*?)</pre>', made.stdout, re.S)
    assert found is not None, made.stderr[-2000:]
    told: dict[str, Any] = json.loads(html.unescape(found[1]))
    return told


@pytest.mark.foreign
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_every_control_works_without_a_pointer(tmp_path: Path) -> None:
    record = comparison(RULES, epochs=2)
    for row, score in zip(record["rows"], (0.98, 0.95, 0.99, 0.90), strict=True):
        row["score_mean"] = score
    told = used(report.render(record), tmp_path)
    assert told["before"] == ["backprop", "DFA", "=danger|_%", "frozen"]
    assert told["label"] == "Sort by Test accuracy"
    assert told["sorted"] == ["=danger|_%", "backprop", "DFA", "frozen"]
    assert told["order"] == "descending"
    assert told["again"] == told["before"]
    assert told["filtered"] == ["backprop", "=danger|_%", "frozen"]
    assert told["marks"] > 3
    assert told["first"].startswith("DFA recovers")
    assert told["down"].startswith("=danger|_% recovers")
    assert told["closed"]
    assert told["reached"]
    *tables, figure = told["names"]
    assert [name.rpartition(".")[2] for name in tables] == ["csv", "tex", "md"]
    assert tables[0].startswith("c0-results-by-rule")
    assert figure.endswith(".svg")
    csv, latex, markdown, svg = told["files"]
    assert csv.startswith("Rule,Test accuracy,±,Recovery")
    assert "\n'=danger|_%,99.0%" in csv
    assert "=danger|\\_\\%" in latex
    assert "\\begin{tabular}" in latex
    assert "| =danger\\|_% | 99.0% |" in markdown
    assert svg.startswith("<svg")
    assert 'xmlns="http://www.w3.org/2000/svg"' in svg
    assert "var(" not in svg
    assert 'class="tip"' not in svg
