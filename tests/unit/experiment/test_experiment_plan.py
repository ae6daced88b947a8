from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
from experiment_tasks import BLOBS

from beyondprop.experiment import CompareSpec, RunSpec
from beyondprop.experiment.plan import (
    ComparePlan,
    RunPlan,
    as_json,
    plan_compare,
    plan_run,
)
from beyondprop.experiment.search import Setting


def test_the_task_fills_what_the_spec_leaves_open() -> None:
    plan = plan_run(RunSpec(seed=7), BLOBS, "blobs")
    assert (plan.epochs, plan.batch_size, plan.learning_rate) == (4, 16, 0.01)
    assert (plan.task, plan.feedback_seed, plan.blocks) == ("blobs", 7, None)


def test_what_the_spec_says_wins_over_the_task() -> None:
    spec = RunSpec(epochs=9, batch_size=3, learning_rate=0.5, feedback_seed=0, blocks=("a", "b"))
    plan = plan_run(spec, replace(BLOBS, blocks=["c"]), "blobs")
    assert (plan.epochs, plan.batch_size, plan.learning_rate) == (9, 3, 0.5)
    assert (plan.feedback_seed, plan.blocks) == (0, ("a", "b"))


def test_the_tasks_blocks_are_taken_over() -> None:
    assert plan_run(RunSpec(), replace(BLOBS, blocks=["c"]), "blobs").blocks == ("c",)


@pytest.mark.parametrize(("spec", "plan"), [(RunSpec, RunPlan), (CompareSpec, ComparePlan)])
def test_a_plan_has_the_fields_of_its_spec(spec: type, plan: type) -> None:
    given = [f.name for f in fields(spec) if f.name != "projections"]  # they are within the rules
    assert [f.name for f in fields(plan)] == given


def test_a_plan_leaves_nothing_open() -> None:
    with pytest.raises(TypeError, match="missing 4 required"):
        RunPlan()
    with pytest.raises(TypeError, match="missing 6 required"):
        ComparePlan()


def test_rules_with_arguments_have_names() -> None:
    spec = {"rule": "dfa", "projection": {"hadamard": {"rounds": 2}}}
    plan = plan_compare(CompareSpec(rules=("dfa", spec)), BLOBS, "blobs")
    name = "dfa(projection=hadamard(rounds=2))"
    assert list(plan.names) == ["dfa", name]
    run = plan.run(name, 0, Setting("", 0.1))
    assert (run.rule, run.name) == (spec, name)
    assert as_json(run)["rule"] == spec


def test_controls_enclose_the_rules() -> None:
    plan = plan_compare(CompareSpec(rules=("frozen", "drtp", "dfa", "backprop")), BLOBS, "blobs")
    assert plan.rules == ("backprop", "drtp", "dfa", "frozen")


def test_learning_rates_lie_around_the_tasks() -> None:
    plan = plan_compare(CompareSpec(), BLOBS, "blobs")
    assert plan.learning_rates == (0.001, 0.003, 0.01, 0.03, 0.1)
    assert plan.space.lengths == [1, 2]
    assert plan.tuning_epochs == 2  # a third of 4, rounded up


def test_no_trial_but_the_longest_is_of_few_steps() -> None:
    plan = plan_compare(CompareSpec(tuning_epochs=27, batch_size=10), BLOBS, "blobs")
    assert plan.space_on(10_000).lengths == [3, 9, 27]
    assert plan.space_on(100).lengths == [5, 9, 27]
    assert plan.space_on(10).lengths == [27]


def test_a_named_optimizer_has_its_own_usual_rate() -> None:
    def rate(**given: Any) -> float:
        return plan_run(RunSpec(**given), BLOBS, "blobs").learning_rate

    assert rate() == BLOBS.learning_rate
    assert rate(optimizer="sgd") == 0.03
    assert rate(optimizer="adam") == 1e-3
    assert rate(optimizer="sgd", learning_rate=0.2) == 0.2


def test_optimizers_begin_around_their_own_rates() -> None:
    decay = {"optimizer": "sgd", "weight_decay": 5e-4}
    plan = plan_compare(CompareSpec(optimizers=("adam", decay)), BLOBS, "blobs")
    adam, sgd = plan.space.rates.values()
    assert (adam, sgd) == ((1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (0.003, 0.009, 0.03, 0.09, 0.3))
    assert list(plan.space.rates) == ["adam", "sgd(weight_decay=0.0005)"]
    assert plan.tuning_budget == 20
    run = plan.run("dfa", 0, Setting("sgd(weight_decay=0.0005)", 0.09))
    assert (run.optimizer, run.learning_rate) == (decay, 0.09)


def test_runs_differ_in_rule_seed_and_rate_alone() -> None:
    plan = plan_compare(CompareSpec(data=Path("d"), blocks=("x",)), BLOBS, "blobs")
    one, other = plan.run("dfa", 0, Setting("", 0.1)), plan.run("fa", 0, Setting("", 0.2))
    same = {"rule": None, "learning_rate": None}
    assert asdict(one) | same == asdict(other) | same
    assert (one.data, one.blocks, one.epochs, one.feedback_seed) == (Path("d"), ("x",), 4, 0)
    assert plan.run("dfa", 5, Setting("", 0.1)).feedback_seed == 5


def test_a_trial_is_short_and_has_a_seed_of_its_own() -> None:
    trial = plan_compare(CompareSpec(), BLOBS, "blobs").trial("dfa", Setting("", 0.3), 2)
    assert (trial.seed, trial.epochs, trial.learning_rate) == (1000, 2, 0.3)


def test_a_plan_is_plain_json() -> None:
    plan = plan_run(RunSpec(data=Path("a/b"), blocks=("x", "y")), BLOBS, "blobs")
    assert as_json(plan)["data"] == "given"  # not where: that is this machine's affair
    assert as_json(plan)["blocks"] == ["x", "y"]
