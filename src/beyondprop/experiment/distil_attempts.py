"""Independent jobs that train complete models by each method at several learning rates."""

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
    """A complete model to train by one method.

    Attributes:
        spec: The distillation's settings.
        seed: Random seed of the teacher and of the training.
        folder: The seed's folder.
        library: The teacher's students.
        choice: The student of each replaced neighbourhood.
        budget: The requested share of operations.
        way: The training method.
        operations: Operations available for the training.
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
        """Display name."""
        return f"{self.way.name}, {self.budget:g} of operations, seed {self.seed}"

    def attempt(self, rate: float) -> Attempt:
        """Return the model's training at a learning rate."""
        return Attempt(self, rate)

    def path(self, rate: float) -> Path:
        """Return the file that contains the result at a learning rate."""
        return (
            self.folder
            / "whole"
            / f"{self.budget:g}"
            / file_name(self.way.name)
            / f"{rate:.6g}.json"
        )

    def asked(self, rate: float) -> dict[str, Any]:
        """Return the values that determine the result within this folder."""
        asked = {"choice": dict(self.choice), "operations": self.operations, "rate": rate}
        return dict(finite(asked))


@dataclass(frozen=True)
class Attempt:
    """A complete model trained at one learning rate."""

    whole: Whole
    rate: float

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.whole.name}, learning rate {self.rate:.3g}"

    def earlier(self) -> dict[str, Any] | None:
        """Return the result of an earlier call, or None."""
        asked = self.whole.asked(self.rate)
        return forms.read_kept(self.whole.path(self.rate), "found", forms.ATTEMPTS, asked)

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train the model; store and return the result or why it failed."""
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
    """The training of a complete model.

    Attributes:
        setting: The seed's setting.
        begin: Returns the initial model.
        teach: Returns the batches and the loss that train it.
        rule: Rule that trains it.
        operations: Operations available for the training.
        rate: Learning rate.
    """

    setting: Setting
    begin: Callable[[], nn.Module]
    teach: Callable[[], Lessons]
    rule: Spec
    operations: float
    rate: float

    def found(self, progress: Progress) -> dict[str, Any]:
        """Return the model's scores, or why the training failed."""
        try:
            model, steps = self.model(progress)
        except UserError as error:
            return {"rate": self.rate, "failed": str(error)}
        return self.setting.evaluated(model) | {"rate": self.rate, "steps": steps}

    def model(self, progress: Progress) -> tuple[nn.Module, int]:
        """Return the trained model and the number of its training steps.

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
