"""From folders to a file."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from html_tree import Element, read, rows
from report_records import comparison, run

from beyondprop import report
from beyondprop.errors import UserError, install

COMPARED = ["backprop", "DFA Direct feedback alignment", "frozen"]
"""The first cells of a table of these rules."""


def put(folder: Path, record: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    name = {"run": "record.json", "comparison": "comparison.json"}[record["kind"]]
    (folder / name).write_text(json.dumps(record))
    return folder


def small(**task: str) -> dict[str, Any]:
    record = comparison(("backprop", "dfa", "frozen"), seeds=(0, 1), epochs=2)
    record["task"].update(task)
    return record


def test_a_comparison_is_written_as_it_is_rendered(tmp_path: Path) -> None:
    folder = put(tmp_path / "compare", small())
    output = report.write([folder], tmp_path / "new" / "report.html")
    assert output == tmp_path / "new" / "report.html"
    assert output.read_text(encoding="utf-8") == report.render(small())
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]


def parts(page: Element) -> list[str]:
    """The parts of a page in its contents, without their sections."""
    links = page.all("nav")[0].all("a")
    return [a.text for a in links if re.fullmatch(r"#c\d+", a.attributes["href"] or "")]


def test_several_comparisons_share_a_page_with_a_list(tmp_path: Path) -> None:
    folders = [put(tmp_path / name, small(name=name)) for name in ("one", "two")]
    page = read(report.write(folders, tmp_path / "r.html").read_text())
    assert parts(page) == ["one", "two"]
    assert len(page.all("article")) == 2
    ids = [i for element in page.all() if (i := element.attributes.get("id"))]
    assert len(ids) == len(set(ids))
    (whole,) = page.all("section", id="all")
    joint = rows(whole.all("table")[0])
    assert joint[0] == ["Rule", ", accuracy one", ", accuracy two", "Above the control"]
    assert [row[0] for row in joint[1:]] == [
        *("backprop", "DFA Direct feedback alignment", "frozen")
    ]
    assert [row[3] for row in joint[1:]] == ["", "–", ""]
    first = rows(page.all("article")[0].all("table", class_="main")[0])
    titles = [link.text for link in page.all("nav")[0].all("a")]
    assert titles[:3] == ["All comparisons", "one", "Results by rule"]
    assert joint[2][1].startswith(f"{first[2][1]} ± ")
    assert "recovery" in joint[2][1]
    assert "± is half of the 95% interval over seeds" in whole.text
    # A folder of comparisons, or one named twice, gives the same.
    for again in ([tmp_path], [*folders, folders[0]]):
        other = read(report.write(again, tmp_path / "r.html").read_text())
        assert parts(other) == ["one", "two"]


def test_single_runs_are_put_together_by_task_and_without_recovery(tmp_path: Path) -> None:
    for rule in ("frozen", "dfa", "backprop"):
        for seed in (0, 1):
            put(tmp_path / f"{rule}-{seed}", run(rule, seed, epochs=2))
    other = run("dfa", 0, epochs=2)
    other["task"]["name"] = "other"
    put(tmp_path / "other", other)
    page = read(report.write([tmp_path], tmp_path / "r.html").read_text())
    digits, second = page.all("article")
    table = rows(digits.all("table", class_="main")[0])
    assert [row[0] for row in table[1:]] == COMPARED
    assert {row[3] for row in table[1:]} == {"–"}
    scores = [run("dfa", seed, epochs=2)["test"]["score"] for seed in (0, 1)]
    assert table[2][1] == f"{sum(scores) / 2 * 100:.1f}%"
    assert "single runs, not one comparison" in digits.all("p", class_="lead")[0].text
    assert digits.all("h1")[0].text.startswith("Test accuracy on digits-mlp: backprop")
    assert second.all("h1")[0].text.startswith("Test accuracy on other: DFA")


def test_the_folder_of_one_run_will_do(tmp_path: Path) -> None:
    folder = put(tmp_path / "dfa", run("dfa", 3, epochs=2))
    page = read(report.write([folder], tmp_path / "r.html").read_text())
    assert "beyondprop compare" in page.all("dl", class_="facts")[0].text


def test_an_earlier_report_is_replaced(tmp_path: Path) -> None:
    folder, output = put(tmp_path / "c", small()), tmp_path / "r.html"
    output.write_text("earlier")
    report.write([folder], output)
    assert output.read_text().startswith("<!doctype html>")


def refused(folders: list[Path], output: Path) -> str:
    with pytest.raises(UserError) as caught:
        report.write(folders, output)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_folders_without_records_are_refused_by_name(tmp_path: Path) -> None:
    good = put(tmp_path / "good", small())
    for bad in (tmp_path / "absent", tmp_path / "empty"):
        message = refused([good, bad], tmp_path / "r.html")
        assert ("there is no folder" in message) is not bad.exists()
        assert str(bad) in message
        assert "beyondprop compare" in message
        bad.mkdir(exist_ok=True)
    assert "at least one folder" in refused([], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("content", ["{", "[1, 2]", "{}", '{"kind": "comparison"}', "\xff"])
def test_damaged_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "comparison.json").write_bytes(content.encode("latin-1"))
    assert "comparison.json" in refused([tmp_path], tmp_path / "r.html")


def test_a_damaged_single_run_is_refused_by_name(tmp_path: Path) -> None:
    record = run("dfa", 0, epochs=1)
    del record["curve"][1]["seconds"]
    put(tmp_path / "whole", run("dfa", 1, epochs=1))
    put(tmp_path / "damaged", record)
    assert "damaged" in refused([tmp_path], tmp_path / "r.html")
    del record["seed"]
    (tmp_path / "damaged" / "record.json").write_text(json.dumps(record))
    assert str(tmp_path / "damaged" / "record.json") in refused([tmp_path], tmp_path / "r.html")


def test_an_unwritable_output_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = put(tmp_path / "c", small())
    (tmp_path / "file").write_text("kept")
    assert "file" in refused([folder], tmp_path / "file" / "r.html")
    (tmp_path / "taken").mkdir()
    assert "taken" in refused([folder], tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "file", "taken"]


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=re.escape(f"{package}: {install('report')}")):
        report.render(small())


def test_importing_the_report_imports_neither_of_its_extras() -> None:
    code = "import beyondprop.report, sys; print({'jinja2', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "docs",
    [
        *("javascript:alert(1)//", "JavaScript:alert(1)", "java\tscript:alert(1)", " javascript:x"),
        *('not a url"><script>', "data:text/html,x", "http://", "https:docs", "http://[", "a b"),
        *("C:\\docs", "docs\n", "vbscript:x", "\x01javascript:x"),
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, docs: str) -> None:
    folder = put(tmp_path / "compare", small())
    with pytest.raises(UserError, match="must be an address with http, https or file"):
        report.write([folder], tmp_path / "r.html", docs)
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize(
    "docs",
    ["https://example.org/docs/", "http://[::1]:8000/", "file:///a/docs/", "../docs/", "docs/", ""],
)
def test_links_start_with_an_address(tmp_path: Path, docs: str) -> None:
    folder = put(tmp_path / "compare", small())
    page = report.write([folder], tmp_path / "r.html", docs).read_text(encoding="utf-8")
    linked = f'href="{docs}rules/direct-feedback-alignment.html"'
    assert (linked in page) == bool(docs)
