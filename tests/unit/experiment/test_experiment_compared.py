"""A comparison as Python and notebooks see it, by a record that is kept."""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from beyondprop.errors import UserError
from beyondprop.experiment import Comparison
from beyondprop.experiment.compared import flat

RECORD = Path(__file__).parents[3] / "results" / "comparisons" / "cifar-conv-adam.json"
KEPT = json.loads(RECORD.read_text())
RULES = [row["rule"] for row in KEPT["rows"]]


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    (tmp_path / "comparison.json").write_text(RECORD.read_text())
    return Comparison.read(tmp_path)


def test_it_is_the_record(found: Comparison) -> None:
    assert found == {key: value for key, value in KEPT.items() if key != "sha256"}
    assert found["rows"] == KEPT["rows"]
    assert repr(found) == f"<Comparison on cifar-conv: {', '.join(RULES)}>"


def test_a_folder_without_one_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"contains no comparison\.json"):
        Comparison.read(tmp_path)


def test_its_table_has_a_line_for_each_rule_and_says_what_columns_mean(found: Comparison) -> None:
    lines = found.table().splitlines()
    for row in KEPT["rows"]:
        (line,) = [line for line in lines if line.startswith(f"{row['rule']} ")]
        assert f"{row['score_mean']:.4f} ± " in line
    assert "recovery: " in found.table()
    assert str(found) == found.table()


def test_a_notebook_shows_the_same_cells(found: Comparison) -> None:
    page = ElementTree.fromstring(found._repr_html_())
    shown = [[cell.text or "" for cell in row] for row in page.iter("tr")]
    assert shown[0][:3] == ["rule", "test accuracy", "recovery"]
    assert [row[0].removesuffix(" †") for row in shown[1:]] == RULES
    lines = found.table().splitlines()
    for row in shown[1:]:
        assert any(line.split() == " ".join(row).split() for line in lines)


def test_pandas_gets_a_row_for_each_rule(found: Comparison) -> None:
    pytest.importorskip("pandas")
    frame = found.to_pandas()
    assert list(frame.index) == RULES
    for row in KEPT["rows"]:
        assert frame.score_mean[row["rule"]] == row["score_mean"]
        assert frame.score_interval_low[row["rule"]] == row["score_interval"][0]


def test_figures_without_an_interval_have_the_same_columns() -> None:
    known, unknown = {"score_interval": [0.1, 0.2]}, {"score_interval": None}
    assert list(flat(known)) == list(flat(unknown)) == ["score_interval_low", "score_interval_high"]


def test_the_plot_has_each_rules_score_and_interval(found: Comparison) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    axes = found.plot()
    assert [label.get_text() for label in axes.get_yticklabels()] == RULES
    for place, row in enumerate(KEPT["rows"]):
        interval, point = axes.lines[2 * place : 2 * place + 2]
        assert list(interval.get_xdata()) == row["score_interval"]
        assert list(point.get_xdata()) == [row["score_mean"]]
    assert found.plot(axes) is axes
    pyplot.close(axes.figure)


@pytest.mark.parametrize(("package", "method"), [("pandas", "to_pandas"), ("matplotlib", "plot")])
def test_a_package_that_is_missing_is_told(
    found: Comparison, monkeypatch: pytest.MonkeyPatch, package: str, method: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(UserError, match=f"needs {package}: pip install"):
        getattr(found, method)()
