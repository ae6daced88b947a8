"""What tasks of several modalities have in common.

Inputs are a mapping of a modality's name to what its encoder is called with: a tensor, or a pair of
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
"""The note of a split that says which modalities of each sample say something."""

BLOCKS = ("encoders.*", "fusion", "head")
WIDTH = 32


def informative(samples: Samples) -> Tensor | None:
    """Return which modalities of each sample say something, where that is known.

    No model is given it. A measure holds the weights of an attention against it.

    Returns:
        ``(n, modalities)`` bool, in the order of the inputs; or None.
    """
    return samples.notes.get(INFORMATIVE) if isinstance(samples, Split) else None


@dataclass(frozen=True)
class Encoder:
    """Builds encoders to `WIDTH` features. Unlike partial functions, two of a kind are equal.

    Attributes:
        kind: Makes one of sizes and the number of features.
        sizes: Of the inputs.
    """

    kind: Callable[..., nn.Module]
    sizes: tuple[int, ...]

    def __call__(self) -> nn.Module:
        """Return a fresh one."""
        return self.kind(*self.sizes, WIDTH)


@dataclass(frozen=True)
class Network:
    """Builds networks with an attention between modalities.

    Attributes:
        encoders: What builds the encoder of each modality, by name; all return as many features.
        width: How many.
        outputs: Of the network.
    """

    encoders: Mapping[str, Callable[[], nn.Module]]
    width: int
    outputs: int

    def __call__(self) -> MultimodalNetwork:
        """Return a fresh one."""
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
    """Return a task by a network with an attention, whose encoders are blocks of their own.

    Args:
        name: Of the task.
        summary: One line for lists.
        load: Gives inputs that are mappings.
        encoders: What builds the encoder of each modality, to `WIDTH` features.
        outputs: Of the network.
        fields: Of the task, in place of its defaults: ``epochs``, ``split``, ...
    """
    own: dict[str, Any] = {
        "blocks": BLOCKS,
        "features": side_by_side,
        "batch_size": 64,
    }
    return Task(name, summary, load, Network(encoders, WIDTH, outputs), **own | fields)


def side_by_side(inputs: Mapping[str, Any]) -> Tensor:
    """Return all numbers of a sample's modalities; of frames with lengths their mean.

    Returns:
        ``(n, numbers)``.
    """
    found = [row(each) for name, each in inputs.items() if name != PRESENT]
    return torch.cat(found, 1)


def row(value: Any) -> Tensor:
    """Return a modality as ``(n, numbers)``; of frames with lengths it is the mean."""
    if isinstance(value, Tensor):
        return value.flatten(1)
    frames, lengths = value
    places = torch.arange(frames.shape[1], device=frames.device)
    inside = (places < lengths[:, None])[..., None]  # (n, frames, 1)
    mean: Tensor = torch.where(inside, frames, 0).sum(1) / lengths.clamp(min=1)[:, None]
    return mean


def in_memory(samples: Samples) -> Split:
    """Return samples that are a `Split`.

    Raises:
        UserError: They are others.
    """
    if not isinstance(samples, Split):
        raise UserError(f"the samples must be in memory, as a Split, not {type(samples).__name__}")
    return samples


def joined(one: Split, other: Split) -> Split:
    """Return two parts as one; their inputs are mappings of tensors."""
    return Split(
        {name: torch.cat([x, other.inputs[name]]) for name, x in one.inputs.items()},
        torch.cat([one.targets, other.targets]),
        {name: torch.cat([x, other.notes[name]]) for name, x in one.notes.items()},
    )


def scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of features ``(n, features)``, ``(features,)`` each.

    Of a feature that is the same everywhere the deviation is 1.
    """
    mean, found = x.mean(0), x.std(0, correction=0)
    # A mean of equal numbers is a little off, and so is their deviation.
    return mean, torch.where(found > 1e-5 * mean.abs(), found, 1)


def standardised(data: Data) -> Data:
    """Return the data with each feature less its mean over its deviation in the training part.

    Args:
        data: Its inputs are mappings of tensors ``(n, features)``.
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
