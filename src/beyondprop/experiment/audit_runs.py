"""Finished runs for an audit: found in folders, and read with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from beyondprop import rules, tasks
from beyondprop._torch.weights import WEIGHTS, read_weights
from beyondprop.audit import Audited
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import forms
from beyondprop.experiment.linear import LINEAR
from beyondprop.experiment.plan import factory
from beyondprop.experiment.record import RECORD
from beyondprop.experiment.setup import of_seed, read
from beyondprop.experiment.storage import read_spec
from beyondprop.files import StorageError
from beyondprop.pieces.training import Recipe
from beyondprop.registry import Spec, label
from beyondprop.tasks import Task

KEYS = ("task", "rule", "seed", "feedback_seed", "epochs", "batch_size", "learning_rate", "blocks")
"""Fields of a run's spec that an audit reads."""
RUNS = "runs"
"""The folder with the runs, inside a comparison's folder."""


@dataclass(frozen=True)
class Trained:
    """A run that has finished.

    Attributes:
        folder: The run's folder.
        spec: The run's plan, as JSON.
        record: The run's record, as JSON.
        rule: Display name of the rule, with the attack of adversarial training, and with the task
            if most runs have another one.
    """

    folder: Path
    spec: dict[str, Any]
    record: dict[str, Any]
    rule: str

    @property
    def seed(self) -> int:
        """The run's random seed."""
        return int(self.spec["seed"])

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.rule}, seed {self.seed}"

    @property
    def task(self) -> Spec:
        """The task that the run was trained on."""
        found: Spec = self.spec["task"]
        return found

    @property
    def digest(self) -> str:
        """Digest of the weights."""
        return str(self.record["weights_sha256"])

    def audited(self, data: Path | None) -> Audited:
        """Return the trained model with its task and data.

        Args:
            data: Folder that contains the data set.

        Raises:
            UserError: The task or the data can't be used, or the weights don't fit.
        """
        task = tasks.find(self.task)
        known = of_seed(task, read(task, data), self.seed)
        return Audited(
            self.rule, task, known, self.seed, partial(self.model, task), self.recipe(task)
        )

    def model(self, task: Task) -> nn.Module:
        """Return the model with its weights, in eval mode, without a change to the generators.

        Raises:
            StorageError: The weights are not those that the run wrote.
            UserError: They don't fit the task's model.
        """
        with generators_kept():
            torch.manual_seed(self.seed)
            model = task.model()
        state = read_weights(self.folder / WEIGHTS, self.digest)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(
                f"the weights of {self.folder} don't fit the model of {task.name}, which has "
                f"changed since: train it again ({str(error).splitlines()[0]})"
            ) from None
        return model.eval()

    def recipe(self, task: Task) -> Recipe:
        """Return the recipe by which it was trained."""
        spec = self.spec
        return Recipe(
            epochs=spec["epochs"],
            batch_size=spec["batch_size"],
            learning_rate=spec["learning_rate"] or task.learning_rate,
            optimizer=factory(task, spec.get("optimizer")),
            rule=rules.make(spec["rule"], spec["feedback_seed"]),
            blocks=in_tuples(spec["blocks"]),
            seed=self.seed,
        )


def in_tuples(blocks: list[Any] | None) -> list[str | tuple[str, ...]] | None:
    """Return blocks in the form that rules expect, from JSON values."""
    if blocks is None:
        return None
    return [each if isinstance(each, str) else tuple(each) for each in blocks]


def found(folders: Sequence[Path]) -> list[Trained]:
    """Return the runs in folders that `beyondprop train` or `beyondprop compare` wrote.

    Runs that diverged or failed are left out. Tasks may differ in their models, as those of slot
    machines do, but not in their data.

    Raises:
        UserError: A folder has no runs, runs use several data sets, or two runs have the same rule
            and seed.
    """
    runs = [run for folder in dict.fromkeys(folders) for run in within(folder)]
    known = {(run.record["task"]["data"], run.record["task"]["metric"]): run for run in runs}
    if len(known) > 1:
        sets = ", ".join(data for data, _ in known)
        raise UserError(f"the runs use several data sets ({sets}): audit one data set at a time")
    usual = of_usual_task(runs).task
    runs = [own(run, usual) for run in runs]
    names = [run.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"{twice[0]} is named twice: name each run once")
    return runs


def of_usual_task(runs: Sequence[Trained]) -> Trained:
    """Return the first run of the task that most runs have."""
    specs = [run.task for run in runs]
    return max(runs, key=lambda run: specs.count(run.task))


def own(run: Trained, usual: Spec) -> Trained:
    """Return a run; if its task differs from the usual one, its rule's name includes the task."""
    if run.task == usual:
        return run
    return replace(run, rule=f"{run.rule}, {run.record['task']['name']}")


def within(folder: Path) -> list[Trained]:
    """Return the finished runs of one folder."""
    places = [folder, *sorted((folder / RUNS).glob("*"))]
    runs = [run for place in places if (run := one(place)) is not None]
    if not runs and any(_is_linear(place) for place in places):
        raise UserError(
            f"{folder} contains only the linear control, which is a linear layer on the inputs and "
            "not the task's network, so there is nothing to audit: name the run of a rule"
        )
    if not runs:
        raise UserError(
            f"{folder} contains no finished run: name a folder that `beyondprop train` or "
            "`beyondprop compare` wrote"
        )
    return runs


def _is_linear(folder: Path) -> bool:
    """Whether a folder contains the finished run of the linear control."""
    record = forms.read_run(folder / RECORD)
    return record is not None and record["status"] == "finished" and _of_linear(record)


def _of_linear(record: Mapping[str, Any]) -> bool:
    return bool(record["rule"]["name"] == LINEAR)


def one(folder: Path) -> Trained | None:
    """Return the finished run of a folder; None if there is none, or for a linear model's run.

    Raises:
        StorageError: Its files are damaged.
    """
    record = forms.read_run(folder / RECORD)
    if record is None or record["status"] != "finished" or _of_linear(record):
        return None
    spec = read_spec(folder)
    if spec is None or any(key not in spec for key in KEYS):
        raise StorageError(f"{folder} contains a record without its spec: train it again")
    if not isinstance(record.get("weights_sha256"), str):
        raise StorageError(
            f"{folder} was written by an earlier version, without a digest of the weights: train "
            "it again"
        )
    return Trained(folder, spec, record, named(spec))


def named(spec: Mapping[str, Any]) -> str:
    """Return the display name of a run's rule, with the attack if the training was adversarial."""
    rule, attack = label(spec["rule"]), spec.get("adversarial")
    if not attack:
        return rule
    return f"{rule}, adversarial (ε = {attack['epsilon']:g}, steps = {attack['steps']})"
