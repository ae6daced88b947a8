"""Whole models, trained in each way at several learning rates; every one is an independent job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import nn

from beyondprop import rules
from beyondprop._torch.threads import threads_set
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import forms
from beyondprop.experiment.distil_costs import step_operations
from beyondprop.experiment.distil_lessons import Lessons
from beyondprop.experiment.distil_setting import Setting, blocks_of, setting_of
from beyondprop.experiment.distil_spec import DistilSpec
from beyondprop.experiment.distil_ways import Way
from beyondprop.files import finite, write_json
from beyondprop.neighbourhoods import Library, Recipe, heal
from beyondprop.registry import Spec, file_name


@dataclass(frozen=True)
class Whole:
    """A whole model that is to be trained in one way.

    Attributes:
        spec: The distillation's.
        seed: Of its teacher and of its training.
        folder: Of the seed.
        library: Of that teacher.
        choice: Of its students.
        budget: The share of operations that was asked for.
        way: How it is trained.
        operations: That its training has.
    """

    spec: DistilSpec
    seed: int
    folder: Path
    library: Library
    choice: Mapping[str, str]
    budget: float
    way: Way
    operations: float

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.way.name}, {self.budget:g} of operations, seed {self.seed}"

    def attempt(self, rate: float) -> Attempt:
        """Return its training at a learning rate."""
        return Attempt(self, rate)

    def path(self, rate: float) -> Path:
        """Return the file that keeps what it reaches at a learning rate."""
        return (
            self.folder
            / "whole"
            / f"{self.budget:g}"
            / file_name(self.way.name)
            / f"{rate:.6g}.json"
        )

    def asked(self, rate: float) -> dict[str, Any]:
        """Return what decides the result within this folder."""
        asked = {"choice": dict(self.choice), "operations": self.operations, "rate": rate}
        return dict(finite(asked))


@dataclass(frozen=True)
class Attempt:
    """A whole model trained at one learning rate."""

    whole: Whole
    rate: float

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.whole.name}, learning rate {self.rate:.3g}"

    def earlier(self) -> dict[str, Any] | None:
        """Return what an earlier call has found."""
        asked = self.whole.asked(self.rate)
        return forms.read_kept(self.whole.path(self.rate), "found", forms.ATTEMPTS, asked)

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train the model; keep and return what it reaches, or why it failed."""
        with threads_set(self.whole.spec.threads), generators_kept():
            found = self._found(progress)
        made = finite({"asked": self.whole.asked(self.rate), "found": found})
        write_json(self.whole.path(self.rate), made)
        return dict(made["found"])

    def _found(self, progress: Progress) -> dict[str, Any]:
        whole = self.whole
        setting = setting_of(whole.spec, whole.seed, whole.folder)
        begin = partial(whole.way.begin, setting, whole.library, whole.choice)
        teach = partial(whole.way.lessons, setting)
        rule = whole.spec.rule if whole.way.ruled else "backprop"
        return Training(setting, begin, teach, rule, whole.operations, self.rate).found(progress)


@dataclass(frozen=True)
class Training:
    """How a whole model is trained.

    Attributes:
        setting: Of its seed.
        begin: Returns the model at its beginning.
        teach: Returns what it is taught by.
        rule: That trains it.
        operations: That its training has.
        rate: The learning rate.
    """

    setting: Setting
    begin: Callable[[], nn.Module]
    teach: Callable[[], Lessons]
    rule: Spec
    operations: float
    rate: float

    def found(self, progress: Progress) -> dict[str, Any]:
        """Return what the model reaches, or why it failed."""
        try:
            model, steps = self.model(progress)
        except UserError as error:
            return {"rate": self.rate, "failed": str(error)}
        return self.setting.evaluated(model) | {"rate": self.rate, "steps": steps}

    def model(self, progress: Progress) -> tuple[nn.Module, int]:
        """Return the trained model, and in how many steps it was.

        Raises:
            UserError: It cannot be built or trained.
        """
        setting, task = self.setting, self.setting.task
        torch.manual_seed(setting.seed)
        model, lessons = self.begin(), self.teach()
        sample = step_operations(setting, model, self.rule) + lessons.extra
        rows = setting.samples / len(lessons.batches)  # the last batch of a pass is smaller
        steps = max(1, round((self.operations - lessons.before) / sample / rows))
        own = Recipe(
            epochs=-(-steps // len(lessons.batches)),
            learning_rate=self.rate,
            rule=rules.make(self.rule, setting.seed),
            blocks=blocks_of(task),
            seed=setting.seed,
            steps=steps,
        )
        heal(model, lessons.batches, lessons.loss, own, progress, task.output, task.axes)
        return model, steps
