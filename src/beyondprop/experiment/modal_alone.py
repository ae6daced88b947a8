"""Independent jobs that train each modality alone at several learning rates."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.threads import threads_set
from beyondprop._torch.weights import WEIGHTS, read_weights, weights
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment import forms
from beyondprop.experiment.assess import score
from beyondprop.experiment.modal_course import converged, course
from beyondprop.experiment.modal_everywhere import everywhere, present_rows
from beyondprop.experiment.modal_setting import Held, ModalSetting, modal_setting, named
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.rates import TRIAL
from beyondprop.files import finite, write_bytes, write_json
from beyondprop.modalities import SubNetwork
from beyondprop.modalities.alone import RECORD, OfModality, subnetwork, train_alone
from beyondprop.pieces.diverged import DivergedError
from beyondprop.pieces.stopping import Stopping, validation_loss
from beyondprop.pieces.training import LabelledBatches
from beyondprop.registry import file_name
from beyondprop.tasks import Samples

FOUND = forms.ATTEMPT | {"operations": float, "seconds": float, "weights_sha256": str}
"""Fields of the stored result of a training, with their types."""


@dataclass(frozen=True)
class Alone:
    """A modality to train alone.

    Attributes:
        spec: The comparison's settings.
        seed: Random seed for the data, the network and the training.
        modality: Name of the modality.
        folder: The seed's folder.
        digests: Digests of the seed's data, network and losses; see `digests`.
    """

    spec: ModalitiesSpec
    seed: int
    modality: str
    folder: Path
    digests: Mapping[str, str]

    def attempt(self, rate: float) -> AloneAttempt:
        """Return the modality's training at a learning rate."""
        return AloneAttempt(self, rate)


@dataclass(frozen=True)
class AloneAttempt:
    """A modality trained alone at one learning rate."""

    alone: Alone
    rate: float

    @property
    def name(self) -> str:
        """Display name."""
        return f"{self.alone.modality} alone, seed {self.alone.seed}, learning rate {self.rate:.3g}"

    @property
    def folder(self) -> Path:
        """The folder that contains the result."""
        return folder_of(self.alone.folder, self.alone.modality, self.rate)

    @property
    def asked(self) -> dict[str, Any]:
        """The values that determine the result within the seed's folder."""
        return {"digests": dict(self.alone.digests), "rate": self.rate}

    def earlier(self) -> dict[str, Any] | None:
        """Return the result of an earlier call, or None."""
        found = forms.read_kept(self.folder / RECORD, "found", FOUND, self.asked)
        if found is None or "course" not in found:  # of an earlier version
            return None
        read_weights(self.folder / WEIGHTS, found["weights_sha256"])
        return found

    def work(self, progress: Progress) -> dict[str, Any]:
        """Train the modality, store its weights, and return the result or why it failed."""
        with threads_set(self.alone.spec.threads), generators_kept():
            try:
                network, found = self._trained(progress)
            except UserError as error:
                return {"rate": self.rate, "failed": str(error), TRIAL: spent_until(error)}
            content = weights(network)
        found |= {
            "rate": self.rate,
            TRIAL: found["operations"],
            "weights_sha256": hashlib.sha256(content).hexdigest(),
        }
        made = finite({"asked": self.asked, "found": found})
        write_bytes(self.folder / WEIGHTS, content)
        write_json(self.folder / RECORD, made)
        return dict(made["found"])

    def _trained(self, progress: Progress) -> tuple[SubNetwork, dict[str, Any]]:
        own = self.alone
        setting = modal_setting(own.spec, own.seed)
        network, data = begun(setting, own.modality), of_modality(setting, own.modality)
        validation = of_modality(setting, own.modality, setting.validation)
        judge = everywhere(setting, own.modality, network)
        stopping = Stopping(
            network, validation, setting.task.loss, own.spec.patience, scored(setting, judge)
        )
        start = validation_loss(network.eval(), validation, setting.task.loss)
        recipe = setting.recipe(self.rate, epochs=own.spec.alone_epochs)
        found = train_alone(network, data, stopping, recipe, progress, self.name)
        epochs = len(stopping.losses)
        way = course([found["operations"] / epochs] * epochs, found["seconds"], stopping.scores)
        return network, found | judged(setting, own.modality, network) | {
            "seconds": sum(found["seconds"]),
            "course": way,
            "start": start,
            "converged": converged(start, stopping.losses, way),
        }


def begun(setting: ModalSetting, modality: str) -> SubNetwork:
    """Return a modality's sub-network with its initial weights."""
    return subnetwork(setting.network(), modality, setting.head, setting.seed)


def folder_of(folder: Path, modality: str, rate: float) -> Path:
    """Return the folder of a modality's training at a learning rate, inside a seed's folder."""
    return folder / "alone" / file_name(modality) / f"{rate:.6g}"


def spent_until(error: UserError) -> float:
    """Return the floating-point operations of a training that ended with an error."""
    return error.operations if isinstance(error, DivergedError) else 0.0


def kept(
    setting: ModalSetting, folder: Path, modality: str, found: Mapping[str, Any]
) -> SubNetwork:
    """Return a modality's sub-network with the weights from its training alone, in eval mode.

    Args:
        setting: The seed's setting.
        folder: The seed's folder.
        modality: Name of the modality.
        found: Result of the modality's training.
    """
    network = begun(setting, modality)
    path = folder_of(folder, modality, found["rate"]) / WEIGHTS
    network.load_state_dict(read_weights(path, found["weights_sha256"]))
    return network.eval()


def of_modality(
    setting: ModalSetting, modality: str, data: LabelledBatches | None = None
) -> OfModality:
    """Return the batches of one modality, by default those of the training data."""
    place = setting.network().modalities.index(modality)
    return OfModality(data or setting.train, modality, place)


def scored(setting: ModalSetting, judge: nn.Module) -> Callable[[nn.Module], float]:
    """Return a function that scores a sub-network on all validation data.

    Args:
        setting: The seed's setting.
        judge: Module that contains the sub-network and answers for all samples.
    """
    return lambda _: score(setting.task, judge, setting.data.validation).score


def judged(setting: ModalSetting, modality: str, network: nn.Module) -> dict[str, Any]:
    """Return a sub-network's scores on all samples, and on those that have its modality.

    A sample without the modality gets the best constant answer from the training data.
    ``own_score`` is the score on the test samples that have the modality, and ``own_samples`` their
    number. ``own_score`` is None if there are none.
    """
    whole = everywhere(setting, modality, network)
    found: dict[str, Any] = dict(setting.evaluated(whole))
    rows = present_rows(setting.data.test, whole.place)
    if rows is None or bool(rows.all()):
        return found | {"own_score": found["score"], "own_samples": len(setting.data.test)}
    count, own = int(rows.sum()), None
    if count:
        own = setting.task.metric(*outputs_of(setting, modality, network, setting.data.test))
    return found | {"own_score": own, "own_samples": count}


@torch.no_grad()
def outputs_of(
    setting: ModalSetting, modality: str, network: nn.Module, samples: Samples
) -> tuple[Tensor, Tensor]:
    """Return a sub-network's outputs and the targets for the samples that have its modality."""
    held = Held(samples, setting.validation.size)
    pairs = [(call(network, own), targets) for own, targets in of_modality(setting, modality, held)]
    outputs, targets = (torch.cat(each) for each in zip(*pairs, strict=True))
    return outputs, targets


def modalities_of(setting: ModalSetting) -> tuple[str, ...]:
    """Return the names of the network's modalities, which the first batch must contain.

    Raises:
        UserError: The data lack one of the network's modalities.
    """
    names = setting.network().modalities
    inputs = named(setting.data.train.batch(torch.arange(1))[0], setting.task)
    if missing := set(names) - set(inputs):
        raise UserError(f"the data of {setting.task.name} have no '{sorted(missing)[0]}'")
    return names
