"""Where direct feedback arrives in a graph network, on a small graph."""

from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
import torch

from benchmarks.common.records import RESULTS
from benchmarks.graphs import signals, tables
from beyondprop.files import read_json
from beyondprop.models import graph
from beyondprop.tasks import Data
from beyondprop.tasks.graphs import Graph, both_ways, in_parts


@pytest.fixture
def data() -> Data:
    torch.manual_seed(0)
    own = torch.arange(80)
    edges = both_ways(torch.stack([own, (own + 2) % 80]))
    return in_parts("rings", Graph(torch.rand(80, 6), edges, own % 2), ("even", "odd"), 10, 10)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "WORDS", 6)
    monkeypatch.setattr(signals, "CLASSES", 2)
    monkeypatch.setattr(signals, "PER_CLASS", 3)


@pytest.mark.parametrize(
    ("network", "way", "near"),
    [("gcn", 0, True), ("gcn", 1, False), ("gcn", 2, True), ("cheb-2", 1, False)],
)
def test_the_nodes_that_are_taught_are_those_labelled_or_their_neighbours_too(
    data: Data, network: str, way: int, near: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So wide that no hidden node is silent.
    wide = partial(signals.NETWORKS[network], hidden=64)
    monkeypatch.setitem(signals.NETWORKS, network, wide)
    labelled = signals.drawn(3, data, 1).train.batch(slice(None))[0][2]
    neighbours = torch.cat([labelled, (labelled + 2) % 80, (labelled - 2) % 80])
    expected = len(neighbours.unique()) if near else len(labelled)
    make = signals.Form("plain", dropout=0.0).model
    found = signals.trained(make, network, signals.WAYS[way], 0.01, data, 1, 2)
    assert found.taught == expected
    assert found.alignment == pytest.approx(1) if way == 0 else found.alignment < 1


def test_every_rate_has_a_column_and_the_best_is_named(data: Data) -> None:
    form, way = signals.FORMS["none of these"], signals.WAYS[1]
    rows = [signals.row("gcn", form, way, rate, data, 2, 3, 1) for rate in (0.01, 0.1)]
    assert len(rows[0]["test"]) == 2
    rows[1]["validation"] = [1.0, 1.0]
    heads, (line,) = tables.signals(rows)
    assert len(heads) == len(line) == 8
    assert line[:4] == ["gcn", "none of these", "dfa, at the node", "6"]
    assert line[-2] == "0.1"


def test_forms_change_what_they_say(data: Data) -> None:
    torch.manual_seed(0)
    first = signals.FORMS["as the task"]
    assert first.data(data) is data
    x = signals.FORMS["words not scaled"].data(data).train.batch(slice(None))[0][0]
    assert x.unique().tolist() in ([1.0], [0.0, 1.0])
    own, plain = (signals.FORMS[name].model("gcn") for name in ("as the task", "PyTorch's weights"))
    assert own.conv2.linear.bias.abs().max() == 0 < plain.conv2.linear.bias.abs().max()
    assert isinstance(signals.FORMS["dropout .1"].model("spline"), graph.NodeClassifier)


def test_the_record_and_its_table_are_written(
    tmp_path: Path, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "load_cora", lambda: data)
    monkeypatch.setattr(signals, "RATES", (0.01, 0.1))
    output = tmp_path / "signals.json"
    for _ in range(2):  # the second time nothing is trained again
        signals.main(output, cases=["gcn"], draws=1, epochs=1, runs=tmp_path / "runs")
    assert len(read_json(output)["rows"]) == 6
    assert "behind the propagation" in output.with_suffix(".md").read_text()


def test_the_page_says_what_the_record_shows() -> None:
    """docs/graphs.md says which networks gain where the signal arrives behind the propagation."""
    record = read_json(RESULTS / "graphs" / "signals.json") or {}
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in record["rows"]:
        key = (row["network"], row["way"].removeprefix("dfa, "))
        if key not in best or mean(row["validation"]) > mean(best[key]["validation"]):
            best[key] = row
    gained = set()
    for network in signals.NETWORKS:
        near, behind = best[network, "at the node"], best[network, "behind the propagation"]
        assert set(near["taught"]) == {140}
        assert min(behind["taught"]) > 140
        assert mean(behind["alignment"]) > mean(near["alignment"])
        if mean(behind["test"]) > mean(near["test"]):
            gained.add(network)
    assert gained == {"gcn", "cheb-2", "sage"}
