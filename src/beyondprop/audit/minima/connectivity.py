"""Connectivity of two minima: loss and score along the straight line between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beyondprop.audit.minima.matching import weight_matching
from beyondprop.audit.minima.units import hidden_units, permuted
from beyondprop.engine.untouched import device_of
from beyondprop.errors import UserError
from beyondprop.measure import evaluate
from beyondprop.tasks import Samples, Task, call
from beyondprop.tasks.samples import moved

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
BATCH = 500
"""Samples per batch."""


@dataclass(frozen=True)
class Between:
    """Loss and score along a straight line between the weights of two networks.

    Attributes:
        places: Positions from 0, the first network, to 1, the second.
        losses: On training samples.
        scores: On test samples, higher is better.
    """

    places: tuple[float, ...]
    losses: tuple[float, ...]
    scores: tuple[float, ...]

    @property
    def barrier(self) -> float:
        """Maximum rise of the loss above the linear interpolation between its values at both ends.

        Frankle et al. 2020; as in Entezari et al. 2022, equation 1. Zero or more.
        """
        return max(_above(self.places, self.losses))

    @property
    def drop(self) -> float:
        """Maximum fall of the score below the linear interpolation between both ends."""
        return max(_above(self.places, [-each for each in self.scores]))


def _above(places: Sequence[float], values: Sequence[float]) -> Iterator[float]:
    for place, value in zip(places, values, strict=True):
        yield value - ((1 - place) * values[0] + place * values[-1])


def check_alike(first: nn.Module, second: nn.Module) -> None:
    """Raise unless the two networks have the same architecture, so that a straight line connects
    them.

    Raises:
        UserError: Their parameters differ in name or shape.
    """
    one, other = (
        {name: each.shape for name, each in model.state_dict().items()} for model in (first, second)
    )
    if differ := sorted(name for name in one.keys() | other if one.get(name) != other.get(name)):
        raise UserError(
            f"the two networks differ in '{differ[0]}', so there is no straight line between them"
        )


def matched(first: nn.Module, second: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """Return the state of a network with its units permuted to match another network.

    The permuted network computes the same function.

    Args:
        first: The network to match.
        second: The network whose units are permuted.
        seed: Seed for the order in which layers are processed.

    Raises:
        UserError: The two differ, or no matching is known for the architecture.
    """
    check_alike(first, second)
    hidden = hidden_units(second)
    one, other = (dict(model.named_parameters()) for model in (first, second))
    with torch.no_grad():
        orders = weight_matching(one, other, hidden, seed)
    return permuted(second.state_dict(), hidden, orders)


def along(
    model: nn.Module,
    ends: tuple[Mapping[str, Tensor], Mapping[str, Tensor]],
    places: Sequence[float],
    task: Task,
    parts: tuple[Samples, Samples],
) -> Iterator[tuple[float, float]]:
    """Yield the loss and the score at positions on the line between two states of a network.

    If the network has batch norms, their means and variances are measured again on the training
    samples at each position, including the ends: a mixture of two networks' statistics does not fit
    the mixed network (Jordan et al. 2023).

    Args:
        model: Gets the state of each position, and has the last one at the end.
        ends: The two states.
        places: Positions from 0 to 1.
        task: Provides the loss and the metric.
        parts: Training samples for the loss, and test samples for the score.
    """
    train, test = parts
    first, second = ({name: each.clone() for name, each in end.items()} for end in ends)
    for place in places:
        model.load_state_dict(mixed(first, second, place))
        measure_norms(model, train)
        loss = evaluate(model, train, task.loss, task.metric, BATCH).loss
        yield loss, evaluate(model, test, task.loss, task.metric, BATCH).score


def mixed(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], place: float
) -> dict[str, Tensor]:
    """Return an interpolation of two states; tensors without real numbers come from the first
    one.
    """
    return {
        name: torch.lerp(each, second[name], place) if each.is_floating_point() else each
        for name, each in first.items()
    }


@torch.no_grad()
def measure_norms(model: nn.Module, samples: Samples) -> None:
    """Set the statistics of a model's batch norms to those of these samples; it is in eval mode."""
    norms = [
        module
        for module in model.modules()
        if isinstance(module, BATCH_NORMS) and module.track_running_stats
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum, norm.training = None, True  # None: the mean over batches
    device = device_of(model, samples.device)
    for inputs, _ in samples.batches(BATCH):
        call(model, moved(inputs, device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum, norm.training = momentum, False
