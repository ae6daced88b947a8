"""Independent jobs that train complete networks by each method, at equal computation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from beyondprop._torch.threads import threads_set
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import forms
from beyondprop.experiment.assess import score
from beyondprop.experiment.modal_alone import spent_until
from beyondprop.experiment.modal_course import course, steps_by_epoch
from beyondprop.experiment.modal_measures import measured
from beyondprop.experiment.modal_methods import METHODS, Ground, recipe_of, step_operations
from beyondprop.experiment.modal_setting import modal_setting
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.rates import TRIAL
from beyondprop.files import finite, write_json
from beyondprop.modalities import join
from beyondprop.pieces.diverged import DivergedError
from beyondprop.registry import file_name


@dataclass(frozen=True)
class Budget:
    """Computation budget of a seed's methods, in floating-point operations.

    Attributes:
        alone: Training of all modalities alone, each at its best learning rate.
        warm: Training of the fusion and the head on the pre-trained sub-networks' outputs.
        joint: Training of the complete pre-trained network.
    """

    alone: float
    warm: float
    joint: float

    @property
    def total(self) -> float:
        """Pre-training and joint training together: the budget of every method."""
        return self.alone + self.warm + self.joint


@dataclass(frozen=True)
class ByMethod:
    """A network to train by a method.

    Attributes:
        spec: The comparison's settings.
        seed: Random seed for the data, the network and the training.
        method: Name of the method.
        folder: The seed's folder.
        alone: Result of each modality's training alone, by name.
        budget: The seed's computation budget.
        digests: Digests of the seed's data, network and losses; see `digests`.
    """

    spec: ModalitiesSpec
    seed: int
    method: str
    folder: Path
    alone: Mapping[str, Mapping[str, Any]]
    budget: Budget
    digests: Mapping[str, str]

    def attempt(self, rate: float) -> MethodAttempt:
        """Return the network's training at a learning rate."""
        return MethodAttempt(self, rate)


@dataclass(frozen=True)
class MethodAttempt:
    """A network trained by a method at one learning rate."""

    of: ByMethod
    rate: float

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.of.method}, seed {self.of.seed}, learning rate {self.rate:.3g}"

    @property
    def path(self) -> Path:
        """The file that contains the result."""
        folder = self.of.folder / "whole" / file_name(self.of.method)
        return folder / f"{self.rate:.6g}.json"

    @property
    def asked(self) -> dict[str, Any]:
        """The values that determine the result within the seed's folder."""
        known = {
            name: {key: each[key] for key in ("rate", "weights_sha256")}
            for name, each in self.of.alone.items()
        }
        budget, rate = asdict(self.of.budget), self.rate
        asked = {"digests": self.of.digests, "alone": known, "budget": budget, "rate": rate}
        return dict(finite(asked))

    def earlier(self) -> dict[str, Any] | None:
        """Return the result of an earlier call, or None."""
        found = forms.read_kept(self.path, "found", forms.ATTEMPTS, self.asked)
        whole = found is not None and ("failed" in found or "course" in found)
        return found if whole else None  # of an earlier version

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train the network; store and return the result or why it failed."""
        with threads_set(self.of.spec.threads), generators_kept():
            try:
                found = self._trained(progress)
            except UserError as error:
                found = {"failed": str(error), TRIAL: spent_until(error)}
        made = finite({"asked": self.asked, "found": found | {"rate": self.rate}})
        write_json(self.path, made)
        return dict(made["found"])

    def _trained(self, progress: Progress) -> dict[str, Any]:
        own, method = self.of, METHODS[self.of.method]
        setting = modal_setting(own.spec, own.seed)
        ground = Ground(setting, own.folder, own.alone, self.rate)
        torch.manual_seed(setting.seed)
        network, prepared = method.network(ground), method.prepare(ground)
        needs = method.pretrained or method.taught
        alone = own.budget.alone * needs  # counted once for all trials
        taken = prepared.seconds + needs * sum(each["seconds"] for each in own.alone.values())
        warm = setting.spec.warm_epochs if method.pretrained and method.attentive else 0
        spent = alone + prepared.operations + own.budget.warm * bool(warm)
        sample = step_operations(setting, method, network, prepared.balance)
        rows = len(setting.data.train) / len(setting.train)  # samples per batch, on average
        steps = steps_of(own.budget.total - spent, sample * rows)
        recipe = recipe_of(
            setting, method, self.rate, epochs=-(-steps // len(setting.train)), steps=steps
        )
        try:
            made = join(
                network,
                setting.train,
                setting.validation,
                setting.task.loss,
                setting.head,
                recipe=recipe,
                rates=prepared.rates,
                warm=warm,
                balance=prepared.balance,
                score=lambda model: score(setting.task, model, setting.data.validation).score,
                progress=progress,
            )
        except DivergedError as error:
            raise DivergedError(str(error), error.operations + spent - alone) from None
        ahead = taken + sum(made.seconds[:warm])
        way = course(
            [each * sample * rows for each in steps_by_epoch(steps, len(setting.train))],
            made.seconds[warm:],
            made.scores,
            (spent, ahead),
        )
        reached = setting.evaluated(network) | measured(setting, network, ground.networks)
        operations = spent + steps * sample * rows
        return reached | {
            "operations": operations,
            TRIAL: operations - alone,
            "seconds": ahead + sum(made.seconds[warm:]),
            "steps": steps,
            "before": spent,
            "course": way,
            "errors": list(made.errors),
            "validation": list(made.validation),
            "best": made.best,
        }


def steps_of(operations: float, step: float) -> int:
    """Return the number of steps that a number of operations allows.

    Args:
        operations: The budget.
        step: Operations of one step.

    Raises:
        UserError: The budget does not allow a single step.
    """
    steps = round(operations / step)
    if steps < 1:
        raise UserError("the stages before joint training use the whole budget of computation")
    return steps
