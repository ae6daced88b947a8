"""Trained runs, as an audit sees them: found in folders, and read with their weights."""

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
"""Of a run's spec: what an audit reads."""
RUNS = "runs"
"""The folder in a comparison's that holds its runs."""


@dataclass(frozen=True)
class Trained:
    """A run that has finished.

    Attributes:
        folder: That holds it.
        spec: Its plan, as JSON.
        record: Its record, as JSON.
        rule: As tables show it, with the attack of adversarial training, and with the task where
            that is another than most have.
    """

    folder: Path
    spec: dict[str, Any]
    record: dict[str, Any]
    rule: str

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self.spec["seed"])

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.rule}, seed {self.seed}"

    @property
    def task(self) -> Spec:
        """That it was trained on."""
        found: Spec = self.spec["task"]
        return found

    @property
    def digest(self) -> str:
        """Of its weights."""
        return str(self.record["weights_sha256"])

    def audited(self, data: Path | None) -> Audited:
        """Return the trained model with its task and data.

        Args:
            data: Folder that holds the data set's files.

        Raises:
            UserError: The task or the data can't be used, or the weights don't fit.
        """
        task = tasks.find(self.task)
        known = of_seed(task, read(task, data), self.seed)
        return Audited(
            self.rule, task, known, self.seed, partial(self.model, task), self.recipe(task)
        )

    def model(self, task: Task) -> nn.Module:
        """Return the model with its weights, in eval mode; generators are kept.

        Raises:
            StorageError: The weights are not what the run wrote.
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
        """Return how it was trained."""
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
    """Return blocks as rules take them, of JSON values."""
    if blocks is None:
        return None
    return [each if isinstance(each, str) else tuple(each) for each in blocks]


def found(folders: Sequence[Path]) -> list[Trained]:
    """Return the runs of folders that `beyondprop train` or `beyondprop compare` has written.

    Runs that diverged or failed are left out. Tasks may differ in their models, as those of slot
    machines do, and not in their data.

    Raises:
        UserError: A folder holds none, or runs are of several data sets, or two are of one rule and
            seed.
    """
    runs = [run for folder in dict.fromkeys(folders) for run in within(folder)]
    known = {(run.record["task"]["data"], run.record["task"]["metric"]): run for run in runs}
    if len(known) > 1:
        sets = ", ".join(data for data, _ in known)
        raise UserError(f"the runs are of several data sets ({sets}): audit one at a time")
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
    """Return a run, told apart from those of the usual task where it has another."""
    if run.task == usual:
        return run
    return replace(run, rule=f"{run.rule}, {run.record['task']['name']}")


def within(folder: Path) -> list[Trained]:
    """Return the finished runs of one folder."""
    places = [folder, *sorted((folder / RUNS).glob("*"))]
    runs = [run for place in places if (run := one(place)) is not None]
    if not runs:
        raise UserError(
            f"{folder} holds no finished run: name a folder that `beyondprop train` or "
            "`beyondprop compare` has written"
        )
    return runs


def one(folder: Path) -> Trained | None:
    """Return the run of a folder; None where there is none that has finished, or a linear model's.

    Raises:
        StorageError: Its files are damaged.
    """
    record = forms.read_run(folder / RECORD)
    if record is None or record["status"] != "finished" or record["rule"]["name"] == LINEAR:
        return None
    spec = read_spec(folder)
    if spec is None or any(key not in spec for key in KEYS):
        raise StorageError(f"{folder} holds a record without its spec: train it again")
    if not isinstance(record.get("weights_sha256"), str):
        raise StorageError(f"{folder} was made by an earlier version, without a digest of weights")
    return Trained(folder, spec, record, named(spec))


def named(spec: Mapping[str, Any]) -> str:
    """Return a run's rule, as tables show it, told apart where inputs were attacked in training."""
    rule, attack = label(spec["rule"]), spec.get("adversarial")
    if not attack:
        return rule
    return f"{rule}, adversarial (ε = {attack['epsilon']:g}, steps = {attack['steps']})"
