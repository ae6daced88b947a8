"""Networks trained as a whole by each method, all with as much computation, as independent jobs."""

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
    """How much a seed's methods compute, as floating-point operations.

    Attributes:
        alone: Of the training of all modalities alone, each at its best learning rate.
        warm: Of the fusion's training on what these give.
        joint: Of all passes in which the pre-trained network is trained as a whole.
    """

    alone: float
    warm: float
    joint: float

    @property
    def total(self) -> float:
        """Of pre-training and joint training: what every method may use."""
        return self.alone + self.warm + self.joint


@dataclass(frozen=True)
class ByMethod:
    """A network that is to be trained by a method.

    Attributes:
        spec: Of the comparison.
        seed: Of data, network and training.
        method: Its name.
        folder: Of the seed.
        alone: What each modality reached alone, by name.
        budget: Of the seed.
        digests: Of the seed's data, network and losses; see `digests`.
    """

    spec: ModalitiesSpec
    seed: int
    method: str
    folder: Path
    alone: Mapping[str, Mapping[str, Any]]
    budget: Budget
    digests: Mapping[str, str]

    def attempt(self, rate: float) -> MethodAttempt:
        """Return its training at a learning rate."""
        return MethodAttempt(self, rate)


@dataclass(frozen=True)
class MethodAttempt:
    """A network trained by a method at one learning rate."""

    of: ByMethod
    rate: float

    @property
    def name(self) -> str:
        """As people read it."""
        return f"{self.of.method}, seed {self.of.seed}, learning rate {self.rate:.3g}"

    @property
    def path(self) -> Path:
        """The file that keeps what it reaches."""
        folder = self.of.folder / "whole" / file_name(self.of.method)
        return folder / f"{self.rate:.6g}.json"

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the result within the folder."""
        known = {
            name: {key: each[key] for key in ("rate", "weights_sha256")}
            for name, each in self.of.alone.items()
        }
        budget, rate = asdict(self.of.budget), self.rate
        asked = {"digests": self.of.digests, "alone": known, "budget": budget, "rate": rate}
        return dict(finite(asked))

    def earlier(self) -> dict[str, Any] | None:
        """Return what an earlier call has found."""
        found = forms.read_kept(self.path, "found", forms.ATTEMPTS, self.asked)
        whole = found is not None and ("failed" in found or "course" in found)
        return found if whole else None  # of an earlier version

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train the network; keep and return what it reaches, or why it failed."""
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
        alone = own.budget.alone * needs  # for all trials once
        taken = prepared.seconds + needs * sum(each["seconds"] for each in own.alone.values())
        warm = setting.spec.warm_epochs if method.pretrained and method.attentive else 0
        spent = alone + prepared.operations + own.budget.warm * bool(warm)
        sample = step_operations(setting, method, network, prepared.balance)
        rows = len(setting.data.train) / len(setting.train)  # of a batch
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
    """Return how many steps operations allow, of which each takes so many.

    Raises:
        UserError: They allow none.
    """
    steps = round(operations / step)
    if steps < 1:
        raise UserError("the stages before joint training use the whole budget of computation")
    return steps
