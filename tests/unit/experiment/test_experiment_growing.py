"""A comparison that grows by projections; by rules and seeds see `test_experiment_jobs`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from experiment_tasks import BLOBS
from rich.progress import Progress

from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, compare
from beyondprop.experiment.growing import expanded, own_name, through
from beyondprop.registry import label

SPEC = CompareSpec(
    rules=("backprop", "dfa", "frozen"),
    seeds=(0,),
    learning_rates=(0.01,),
    epochs=1,
    measures=(),
    measure_cost=False,
)


def test_rules_that_take_a_projection_go_through_each_and_others_once() -> None:
    sketched = {"sketched": {"size": 8}}
    found = through(("backprop", "dfa", {"dgl": {"projection": "dense"}}), ("dense", sketched))
    assert [label(rule) for rule in found] == [
        "backprop",
        "dfa(projection=dense)",
        "dfa(projection=sketched(size=8))",
        "dgl(projection=dense)",
        "dgl(projection=sketched(size=8))",
    ]
    # Two ways of writing one rule, and one that has a projection already, are one.
    both = ("dfa", {"rule": "dfa"}, {"rule": "dfa", "projection": "sparse"})
    assert through(both, ("dense",)) == ({"rule": "dfa", "projection": "dense"},)


def test_projections_are_within_the_rules_of_a_comparison(tmp_path: Path) -> None:
    spec = replace(SPEC, projections=("dense", "sparse"))
    assert expanded(SPEC) is SPEC
    found = compare(spec, tmp_path / "c", task=BLOBS, progress=Progress(disable=True))
    names = ["backprop", "dfa(projection=dense)", "dfa(projection=sparse)", "frozen", "linear"]
    assert [row["rule"] for row in found["rows"]] == names
    assert "projections" not in found["spec"]


def test_a_comparison_grows_by_the_projections_of_its_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(SPEC, tmp_path / "c", task=BLOBS)
    more = replace(SPEC, rules=None, seeds=None, projections=("sparse",))
    found = compare(more, tmp_path / "c", resume=True, task=BLOBS)
    names = ["backprop", "dfa", "dfa(projection=sparse)", "frozen", "linear"]
    assert [row["rule"] for row in found["rows"]] == names
    assert "rules dfa(projection=sparse)" in " ".join(capsys.readouterr().err.split())
    # Of a rule that is named alone, and without `--resume` in a folder of its own.
    found = compare(replace(more, rules=("fa",)), tmp_path / "c", resume=True, task=BLOBS)
    assert [row["rule"] for row in found["rows"]][3] == "fa(projection=sparse)"
    assert own_name(more) == own_name(SPEC)


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        (("nothing",), "unknown projection 'nothing'"),
        ((), "projections is empty"),
        (("dense", "dense"), "projections names something twice"),
    ],
)
def test_what_is_no_list_of_projections_is_refused(
    named: tuple[str, ...], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=problem):
        compare(replace(SPEC, projections=named), tmp_path / "c", task=BLOBS)
    assert not (tmp_path / "c").exists()
