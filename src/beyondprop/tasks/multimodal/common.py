"""Common parts of multimodal tasks.

Inputs are a mapping from a modality's name to the argument of its encoder: a tensor, or a pair of
frames ``(n, frames, width)`` and their numbers ``(n,)``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.modalities import Attention, MultimodalNetwork
from beyondprop.modalities.network import PRESENT
from beyondprop.tasks.base import Task
from beyondprop.tasks.samples import Data, Samples, Split

INFORMATIVE = "informative"
"""The note of a split that says which modalities of each sample are informative."""

BLOCKS = ("encoders.*", "fusion", "head")
WIDTH = 32


def informative(samples: Samples) -> Tensor | None:
    """Return which modalities of each sample are informative, if that is known.

    No model receives it. A measure compares it with the weights of an attention.

    Returns:
        ``(n, modalities)`` bool, in the order of the inputs; or None.
    """
    return samples.notes.get(INFORMATIVE) if isinstance(samples, Split) else None


@dataclass(frozen=True)
class Encoder:
    """Builds encoders to `WIDTH` features. Unlike partial functions, equal builders compare equal.

    Attributes:
        kind: Creates an encoder from sizes and the number of features.
        sizes: Sizes of the inputs.
    """

    kind: Callable[..., nn.Module]
    sizes: tuple[int, ...]

    def __call__(self) -> nn.Module:
        """Return a new encoder."""
        return self.kind(*self.sizes, WIDTH)


@dataclass(frozen=True)
class Network:
    """Builds networks with an attention between modalities.

    Attributes:
        encoders: Builders of the encoders by modality; all return the same number of features.
        width: Number of features.
        outputs: Number of outputs of the network.
    """

    encoders: Mapping[str, Callable[[], nn.Module]]
    width: int
    outputs: int

    def __call__(self) -> MultimodalNetwork:
        """Return a new network."""
        made = {name: make() for name, make in self.encoders.items()}
        fusion = Attention(dict.fromkeys(made, self.width), self.width)
        return MultimodalNetwork(made, fusion, nn.Linear(fusion.features, self.outputs))


def of_modalities(
    name: str,
    summary: str,
    load: Callable[[Path | None], Data],
    encoders: Mapping[str, Callable[[], nn.Module]],
    outputs: int,
    **fields: Any,
) -> Task:
    """Return a task with an attention network whose encoders are separate blocks.

    Args:
        name: Name of the task.
        summary: One line for lists.
        load: Returns data whose inputs are mappings.
        encoders: Builders of the encoders by modality, to `WIDTH` features.
        outputs: Number of outputs of the network.
        fields: Fields of the task that replace its defaults: ``epochs``, ``split``, ...
    """
    own: dict[str, Any] = {
        "blocks": BLOCKS,
        "features": side_by_side,
        "batch_size": 64,
    }
    return Task(name, summary, load, Network(encoders, WIDTH, outputs), **own | fields)


def side_by_side(inputs: Mapping[str, Any]) -> Tensor:
    """Return all numbers of a sample's modalities in one row; frames with lengths are averaged.

    Returns:
        ``(n, numbers)``.
    """
    found = [row(each) for name, each in inputs.items() if name != PRESENT]
    return torch.cat(found, 1)


def row(value: Any) -> Tensor:
    """Return a modality as ``(n, numbers)``; frames with lengths are averaged."""
    if isinstance(value, Tensor):
        return value.flatten(1)
    frames, lengths = value
    places = torch.arange(frames.shape[1], device=frames.device)
    inside = (places < lengths[:, None])[..., None]  # (n, frames, 1)
    mean: Tensor = torch.where(inside, frames, 0).sum(1) / lengths.clamp(min=1)[:, None]
    return mean


def in_memory(samples: Samples) -> Split:
    """Return the samples, which must be a `Split`.

    Raises:
        UserError: They are not.
    """
    if not isinstance(samples, Split):
        raise UserError(f"the samples must be in memory, as a Split, not {type(samples).__name__}")
    return samples


def joined(one: Split, other: Split) -> Split:
    """Return two splits as one; their inputs are mappings of tensors."""
    return Split(
        {name: torch.cat([x, other.inputs[name]]) for name, x in one.inputs.items()},
        torch.cat([one.targets, other.targets]),
        {name: torch.cat([x, other.notes[name]]) for name, x in one.notes.items()},
    )


def scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of features ``(n, features)``, ``(features,)`` each.

    For a constant feature the deviation is 1.
    """
    mean, found = x.mean(0), x.std(0, correction=0)
    # The mean of equal numbers has a rounding error, and so has their deviation.
    return mean, torch.where(found > 1e-5 * mean.abs(), found, 1)


def standardised(data: Data) -> Data:
    """Return the data with each feature standardised by its mean and deviation in the training
    split.

    Args:
        data: Data whose inputs are mappings of tensors ``(n, features)``.
    """
    scales = {name: scale(x) for name, x in in_memory(data.train).inputs.items()}

    def changed(samples: Samples) -> Samples:
        split = in_memory(samples)
        inputs = {}
        for name, x in split.inputs.items():
            mean, deviation = scales[name]
            inputs[name] = (x - mean) / deviation
        return Split(inputs, split.targets, split.notes)

    return data.mapped(changed)
