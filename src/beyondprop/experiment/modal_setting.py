"""The common setting of one seed's networks: data, initial networks, and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop import rules, tasks
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment.assess import score
from beyondprop.experiment.distil_lessons import Batches
from beyondprop.experiment.modal_spec import ModalitiesSpec
from beyondprop.experiment.setup import of_seed, read
from beyondprop.modalities import FUSIONS, Concatenation, Joining, MultimodalNetwork
from beyondprop.modalities.fusions import joined_by
from beyondprop.pieces.contents import digest_of_model
from beyondprop.pieces.data import look
from beyondprop.pieces.described import digest_of, digest_of_code
from beyondprop.pieces.training import Recipe
from beyondprop.tasks import Data, Samples, Task
from beyondprop.tasks.multimodal import informative

SHOWN = 2
"""Number of samples used to determine the shape of a model's outputs."""


@dataclass(frozen=True)
class Held:
    """Samples in order, in batches of (inputs, targets).

    Attributes:
        samples: A part of the data.
        size: Samples per batch.
    """

    samples: Samples
    size: int

    def __len__(self) -> int:
        return -(-len(self.samples) // self.size)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self.samples.batches(self.size)


@dataclass(frozen=True)
class ModalSetting:
    """The common setting of one seed's networks.

    Attributes:
        spec: The comparison's settings.
        task: The task.
        data: This seed's data.
        seed: Random seed for the data, the networks and the training.
    """

    spec: ModalitiesSpec
    task: Task
    data: Data
    seed: int

    @property
    def batch_size(self) -> int:
        """Samples per step."""
        return self.spec.batch_size or self.task.batch_size

    @property
    def epochs(self) -> int:
        """Passes over the training data for the complete pre-trained network."""
        return self.spec.epochs or self.task.epochs

    @property
    def train(self) -> Batches:
        """Training batches, in the same order each time this is read."""
        return Batches(self.data.train, self.batch_size, self.seed)

    @property
    def validation(self) -> Held:
        """Validation batches."""
        return Held(self.data.validation, max(self.batch_size, 256))

    def network(self) -> MultimodalNetwork:
        """Return the initial network: the task's, with the fusion that the spec names.

        Raises:
            UserError: It is not a MultimodalNetwork, or its head does not fit that fusion.
        """
        fusion = self.spec.fusion
        return self._joined_by(None if fusion is None else FUSIONS.make(fusion))

    def concatenated(self) -> MultimodalNetwork:
        """Return the initial network with concatenation as its fusion.

        Raises:
            UserError: Its head expects another number of features.
        """
        try:
            return self._joined_by(Joining(Concatenation))
        except UserError as error:
            raise UserError(f"{error}: leave methods with concatenation out") from None

    def _joined_by(self, joining: Joining | None) -> MultimodalNetwork:
        torch.manual_seed(self.seed)
        made = self.task.model()
        if not isinstance(made, MultimodalNetwork):
            raise UserError(
                f"the model of {self.task.name} is a {type(made).__name__}: give a task whose "
                "model is a beyondprop.modalities.MultimodalNetwork"
            )
        joined = made if joining is None else joined_by(made, joining)
        if self.spec.dropout is not None:
            joined.dropout = self.spec.dropout
        return joined

    def recipe(self, rate: float, **changes: Any) -> Recipe:
        """Return the recipe for the training of networks."""
        made = Recipe(
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=rate,
            rule=rules.make(self.spec.rule, self.seed),
            seed=self.seed,
            threads=self.spec.threads,
        )
        return replace(made, **changes)

    @cached_property
    def outputs(self) -> Tensor:
        """The network's outputs for two samples."""
        inputs, _ = self.data.train.batch(torch.arange(SHOWN))
        with torch.no_grad():
            found = tasks.call(self.network().eval(), inputs)
        if not isinstance(found, Tensor) or found.dim() > 2:
            raise UserError(
                f"the network of {self.task.name} must return one tensor, (batch,) or "
                "(batch, outputs)"
            )
        return found

    def head(self, width: int) -> nn.Module:
        """Return a single modality's head: one linear layer with outputs in the task's shape."""
        if self.outputs.dim() == 1:
            return nn.Sequential(nn.Linear(width, 1), nn.Flatten(0))
        return nn.Linear(width, self.outputs.shape[1])

    def evaluated(self, model: nn.Module) -> dict[str, float]:
        """Return a model's scores and losses on validation and test data."""
        return self.judged(model, self.data)

    def judged(self, model: nn.Module, data: Data) -> dict[str, float]:
        """Return a model's scores and losses on validation and test data like this task's."""
        held, last = (score(self.task, model, each) for each in (data.validation, data.test))
        return {
            "validation_score": held.score,
            "validation_loss": held.loss,
            "score": last.score,
            "loss": last.loss,
        }


def digests(setting: ModalSetting) -> dict[str, str]:
    """Return digests that identify a seed's data, network, loss and rule by content.

    A result of an earlier call is reused if these digests and the settings are the same. The data
    is read once.

    Raises:
        UserError: An object has no digest, such as a loss that contains an open file.
    """
    data, network = setting.data, setting.network()
    parts = (data.train, data.validation, data.test)
    known = [[look(Held(each, setting.validation.size))[0], informative(each)] for each in parts]
    made = setting.recipe(setting.spec.rates[0])
    return {
        "data": digest_of(known, "the data"),
        "network": digest_of_model(network),
        "code": digest_of_code(network),
        "loss": digest_of(setting.task.loss, "the loss"),
        "metric": digest_of(setting.task.metric, "the metric"),
        "recipe": digest_of(vars(made), "the recipe"),
    }


def modal_setting(spec: ModalitiesSpec, seed: int) -> ModalSetting:
    """Return the setting of a seed."""
    return modal_settings(spec, (seed,))[seed]


def modal_settings(spec: ModalitiesSpec, seeds: Iterable[int]) -> dict[int, ModalSetting]:
    """Return the setting of each seed; the data is loaded once."""
    task = tasks.find(spec.task)
    data, made = read(task, spec.data), {}
    for seed in seeds:
        own = ModalSetting(spec, task, of_seed(task, data, seed), seed)
        with generators_kept():
            _ = own.outputs  # computed now: later, it would shift the random numbers of the heads
        made[seed] = own
    return made


def named(inputs: Any, task: Task) -> Mapping[str, Any]:
    """Return a batch's inputs by modality name.

    Raises:
        UserError: The inputs are not a mapping.
    """
    if not isinstance(inputs, Mapping):
        raise UserError(f"the inputs of {task.name} must be a mapping with modality names as keys")
    return inputs
