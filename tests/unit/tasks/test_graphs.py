"""Nodes of a graph as samples, and the files that graphs come in."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from graph_mirror import put_cora, put_planetoid
from scipy.sparse import csr_matrix

from beyondprop.errors import UserError
from beyondprop.tasks import find
from beyondprop.tasks.graphs import (
    Graph,
    Nodes,
    both_ways,
    drawn,
    features,
    from_planetoid,
    in_parts,
    shares,
)
from beyondprop.tasks.graphs.cora import read_papers


def ring(nodes: int = 40) -> Graph:
    own = torch.arange(nodes)
    edges = both_ways(torch.stack([own, (own + 1) % nodes]))
    return Graph(torch.eye(nodes), edges, own % 2)


def test_edges_lead_both_ways_once_and_not_to_the_node_itself():
    found = both_ways(torch.tensor([[0, 1, 2, 0, 3], [1, 0, 2, 3, 0]]))
    assert found.tolist() == [[1, 3, 0, 0], [0, 0, 1, 3]]


def test_rows_become_shares_and_zeros_stay():
    found = shares(torch.tensor([[1.0, 3.0], [0.0, 0.0]]))
    assert found.tolist() == [[0.25, 0.75], [0.0, 0.0]]


def test_a_batch_is_the_graph_and_the_nodes_that_are_asked_for():
    graph = ring()
    nodes = Nodes(graph, torch.tensor([7, 3, 20]))
    (x, edges, numbers), targets = nodes.batch(torch.tensor([2, 0]))
    assert x is graph.features
    assert edges is graph.edges
    assert numbers.tolist() == [20, 7]
    assert targets.tolist() == [0, 1]
    assert len(nodes.some(torch.tensor([1]))) == 1
    assert nodes.some(torch.tensor([1])).batch(slice(None))[0][2].tolist() == [3]
    assert [len(y) for _, y in nodes.batches(2)] == [2, 1]
    torch.testing.assert_close(features((x, edges, numbers)), torch.eye(40)[[20, 7]])


def test_nodes_of_unknown_class_are_in_no_part_and_parts_are_always_the_same():
    graph = ring()
    graph.classes[[0, 5]] = -1
    first, second = (in_parts("ring", graph, ("a", "b"), 8, 10) for _ in range(2))
    parts = [part.numbers.tolist() for part in first.parts.values()]
    assert [len(part) for part in parts] == [20, 8, 10]
    assert sorted(each for part in parts for each in part) == [
        i for i in range(40) if i not in (0, 5)
    ]
    assert parts == [part.numbers.tolist() for part in second.parts.values()]


def test_each_seed_draws_other_training_nodes_and_leaves_the_rest_as_it_is():
    data = in_parts("ring", ring(), ("a", "b"), 8, 10)
    draws = [drawn(3, data, seed) for seed in (0, 0, 1)]
    numbers = [each.train.numbers.tolist() for each in draws]
    assert numbers[0] == numbers[1] != numbers[2]
    for each in draws:
        assert each.train.batch(slice(None))[1].bincount().tolist() == [3, 3]
        assert set(each.train.numbers.tolist()) <= set(data.train.numbers.tolist())
        assert each.validation is data.validation
        assert each.test is data.test


def test_what_is_no_graph_is_refused():
    with pytest.raises(UserError, match="leads to a node that is not one of the 2"):
        Graph(torch.eye(2), torch.tensor([[0], [2]]), torch.zeros(2).long())
    with pytest.raises(UserError, match=r"edges are \(2, edges\) int64"):
        Graph(torch.eye(2), torch.zeros(2, 2), torch.zeros(2).long())
    with pytest.raises(UserError, match=r"classes \(nodes,\)"):
        Graph(torch.eye(2), torch.zeros(2, 0).long(), torch.zeros(3).long())
    with pytest.raises(UserError, match="no nodes"):
        Nodes(ring(), torch.zeros(0).long())
    with pytest.raises(UserError, match="leave none for training"):
        in_parts("ring", ring(), (), 20, 20)
    with pytest.raises(UserError, match="cannot hold out 30 samples of class 0"):
        drawn(30, in_parts("ring", ring(), ("a", "b"), 8, 10), 0)


def test_papers_are_read(tmp_path: Path):
    folder = put_cora(tmp_path) / "cora"
    graph, names = read_papers(folder / "cora.content.gz", folder / "cora.cites")
    assert names == ("Neural Nets", "Theory")
    assert graph.features.shape == (80, 6)
    torch.testing.assert_close(graph.features.sum(1), torch.ones(80))
    assert graph.classes.tolist() == [i % 2 for i in range(80)]
    assert graph.edges.shape == (2, 320)  # four neighbours each
    assert graph.edges[0][graph.edges[1] == 0].tolist() == [1, 2, 78, 79]


def test_cora_says_where_its_files_are_to_be_had(tmp_path: Path):
    with pytest.raises(UserError, match=r"Cora is not on this machine; .*https://linqs.org.*cora/"):
        find("cora-gcn").load(None)
    with pytest.raises(UserError, match="Cora is not in"):
        find("cora-gcn").load(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("cora.content.gz", b"1\t0\tA\n2\t0\t1\tA", "not a table of papers"),
        ("cora.content.gz", b"1\t0\tA\n2\t7\tA", "neither 0 nor 1"),
        ("cora.content.gz", b"", "not a table of papers"),
        ("cora.cites", b"1000\t5\n", "not a list of pairs of papers"),
        ("cora.cites", b"1000\t999\t998\n", "not a list of pairs of papers"),
    ],
)
def test_damaged_files_of_papers_are_refused(tmp_path: Path, file, content, said):
    folder = put_cora(tmp_path) / "cora"
    (folder / file).write_bytes(content)
    with pytest.raises(UserError, match=said):
        read_papers(folder / "cora.content.gz", folder / "cora.cites")


def test_files_of_planetoid_are_read(tmp_path: Path):
    task = from_planetoid(put_planetoid(tmp_path), per_class=1)
    data = task.load(None)
    graph = data.train.graph
    assert graph.features.shape == (12, 4)
    # Test nodes are in the order of their numbers, whatever their order in the file.
    torch.testing.assert_close(graph.features[9], shares(torch.arange(4.0)[None])[0])
    torch.testing.assert_close(graph.features[5], shares(torch.arange(4.0, 8)[None])[0])
    assert graph.features[8].tolist() == [0] * 4  # in no file
    assert graph.classes.tolist() == [0, 1, 1, 0, 1, 1, 1, 0, -1, 0, 1, 0]
    assert graph.edges.t().tolist() == [
        [1, 0], [2, 0], [0, 1], [0, 2], [5, 2], [2, 5], [7, 6], [6, 7]
    ]  # fmt: skip
    assert data.train.numbers.tolist() == [0, 1]
    assert data.validation.numbers.tolist() == [2, 3, 4]
    assert data.test.numbers.tolist() == [5, 6, 7, 9, 10, 11]
    assert (task.name, task.batch_size) == ("tiny-gcn", 2)
    (x, edges, nodes), _ = data.test.batch(slice(None))
    assert task.model()(x, edges, nodes).shape == (6, 2)


def test_a_set_of_planetoid_is_named_in_a_spec(tmp_path: Path):
    put_planetoid(put_planetoid(tmp_path), "other")
    spec = {"task": "beyondprop.tasks:from_planetoid", "path": str(tmp_path)}
    assert find(spec | {"name": "other", "network": "spline"}).name == "other-spline"
    with pytest.raises(UserError, match=r"holds the sets other, tiny: name one, name="):
        find(spec)
    with pytest.raises(UserError, match="no network 'gnc'; there are gcn, cheb, gat, sage, spline"):
        find(spec | {"network": "gnc"})
    with pytest.raises(UserError, match="a task has no epoch; it has augment"):
        find(spec | {"name": "tiny", "epoch": 3})


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("allx", csr_matrix(np.eye(4)), "do not match"),
        ("tx", csr_matrix(np.eye(6)), "do not match"),
        ("ty", [1, 2], "is not an array of numbers"),
        ("ty", np.arange(6), "is not a matrix: it has 1 axes"),
        ("tx", Path("x"), "it names pathlib"),
        ("graph", [1], "is not a dictionary of lists of whole numbers"),
        ("graph", {0: "1"}, "is not a dictionary of lists of whole numbers"),
        ("graph", {0: [-1]}, "negative number"),
    ],
)
def test_damaged_files_of_planetoid_are_refused(tmp_path: Path, part, value, said):
    folder = put_planetoid(tmp_path)
    (folder / f"ind.tiny.{part}").write_bytes(pickle.dumps(value, protocol=4))
    with pytest.raises(UserError, match=said):
        from_planetoid(folder)


def test_missing_files_of_planetoid_are_told(tmp_path: Path):
    with pytest.raises(UserError, match="holds no such files"):
        from_planetoid(tmp_path)
    folder = put_planetoid(tmp_path)
    (folder / "ind.tiny.test.index").write_text("a")
    with pytest.raises(UserError, match="does not contain a list of node numbers"):
        from_planetoid(folder)
    (folder / "ind.tiny.tx").unlink()
    with pytest.raises(UserError, match=r"ind\.tiny\.tx cannot be read"):
        from_planetoid(folder)
