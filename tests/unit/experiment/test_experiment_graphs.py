"""A comparison on nodes of a graph: seeds draw training nodes, controls see what they should."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from beyondprop.experiment import CompareSpec, compare
from beyondprop.models import graph
from beyondprop.tasks import Data
from beyondprop.tasks.graphs import Graph, both_ways, in_parts, of_nodes, shares

SPEC = CompareSpec(
    rules=("backprop", "fa", "dfa", "drtp", "frozen"),
    seeds=(0, 1),
    learning_rates=(0.01, 0.03),
    epochs=3,
    tuning_epochs=2,
    measure_cost=False,
    measures=("alignment",),
)


def rings(folder: Path | None) -> Data:
    """Two classes, each a ring, with words that tell little of the class."""
    del folder
    generator = torch.Generator().manual_seed(0)
    own = torch.arange(100)
    classes = own % 2
    words = torch.rand(100, 6, generator=generator) + 0.5 * torch.eye(6)[classes]
    edges = both_ways(torch.stack([own, (own + 2) % 100]))
    return in_parts("rings", Graph(shares(words), edges, classes), ("even", "odd"), 10, 16)


def task_of(network: str) -> Any:
    model = partial(getattr(graph, network), 6, 2)
    return of_nodes(f"rings-{network}", "two rings", rings, model, 2, per_class=12)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compare(SPEC, tmp_path_factory.mktemp("rings"), task=task_of("gcn"))


def runs_of(found: dict[str, Any], rule: str) -> list[dict[str, Any]]:
    return [run for run in found["runs"] if run["rule"]["name"] == rule]


def test_rules_train_and_one_that_sees_targets_says_why_not(found: dict[str, Any]) -> None:
    for rule in ("backprop", "fa", "dfa", "frozen", "linear"):
        assert [run["status"] for run in runs_of(found, rule)] == ["finished"] * 2, rule
    assert {run["status"] for run in runs_of(found, "drtp")} == {"failed"}


def test_the_frozen_controls_last_layer_is_solved_on_the_labelled_nodes(
    found: dict[str, Any],
) -> None:
    for run in runs_of(found, "frozen"):
        assert run["head"]["converged"] is True
        assert (run["head"]["features"], run["head"]["samples"]) == (16, 24)
        assert run["learning_rate"] is None


def test_each_seed_has_its_own_training_nodes_and_so_has_the_linear_model(
    found: dict[str, Any],
) -> None:
    first, second = runs_of(found, "linear")
    assert first["weights_sha256"] != second["weights_sha256"]
    assert first["head"]["samples"] == second["head"]["samples"] == 24
    assert first["head"]["features"] == 6


def test_alignment_is_that_of_each_block(found: dict[str, Any]) -> None:
    for run in runs_of(found, "backprop"):
        assert run["measures"]["alignment"]["values"]["alignment"] == pytest.approx(1)
    for run in runs_of(found, "dfa"):
        assert -1 <= run["measures"]["alignment"]["values"]["alignment"] < 1


def test_the_head_of_attention_is_trained_by_steps(tmp_path: Path) -> None:
    spec = CompareSpec(
        rules=("frozen",), seeds=(0,), learning_rates=(0.01,), epochs=1, measure_cost=False,
        measures=(),
    )  # fmt: skip
    found = compare(spec, tmp_path, task=task_of("gat"))
    (run,) = runs_of(found, "frozen")
    assert run["status"] == "finished"
    assert run["head"] == (
        "trained by steps: the parameters trained from the last block, conv2, are not those of "
        "a single nn.Linear"
    )
