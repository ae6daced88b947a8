"""Families of tasks: one data set and one kind of network, of any width, depth and data size.

`beyondprop scale` trains their members. A family is a function of ``width``, ``depth`` and
``samples`` that returns a task; your own has a name of the form my.module:function.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from beyondprop.errors import UserError
from beyondprop.tasks import fashion_small, language, mnist
from beyondprop.tasks.base import Task
from beyondprop.tasks.samples import Data


def scaled_fashion(width: int = 64, depth: int = 3, samples: int | None = None) -> Task:
    """Return Fashion-MNIST with a network of linear layers.

    Args:
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        samples: Number of training images, the first ones of the data set; by default all 55,000.
            Training takes about as many steps as with all of them.

    Raises:
        UserError: A number is not above zero, or there are too few images.
    """
    return member(mnist.FASHION_MLP, "scaled-fashion", 784, width, depth, samples, epochs=4)


def scaled_fashion_small(width: int = 32, depth: int = 3, samples: int | None = None) -> Task:
    """Return the embedded images of clothing with a network of linear layers.

    Args:
        width: Width of the hidden layers.
        depth: Number of hidden layers.
        samples: Number of training images, the first ones of the data set; by default all 4,000.
            Training takes about as many steps as with all of them.

    Raises:
        UserError: A number is not above zero, or there are too few images.
    """
    small = fashion_small.FASHION_SMALL
    return member(small, "scaled-fashion-small", 196, width, depth, samples, epochs=10)


def scaled_shakespeare(width: int = 64, depth: int = 2, samples: int | None = None) -> Task:
    """Return Tiny Shakespeare with a post-LN decoder, whose layers are its blocks.

    Args:
        width: Width of a token; a multiple of 16, the width of a head.
        depth: Number of layers.
        samples: Number of training windows of 128 characters, the first ones of the text; by
            default all 7,842. Training takes about as many steps as with all of them.

    Raises:
        UserError: A number is not above zero, the width is not a multiple of 16, or there are too
            few windows.
    """
    if width < HEAD or width % HEAD:
        raise UserError(f"scaled-shakespeare takes a width of {HEAD}, {2 * HEAD}, ..., not {width}")
    count, epochs = within("scaled-shakespeare", width, depth, samples, epochs=2, batch_size=8)
    task = language.shakespeare(
        norm_first=False,
        layers=depth,
        width=width,
        heads=width // HEAD,
        name=f"scaled-shakespeare-w{width}-d{depth}-n{count}",
        epochs=epochs,
        batch_size=8,
    )
    return replace(task, load=FirstSamples(task.load, count))


HEAD = 16
"""Width of an attention head in the family of decoders."""

WHOLE = {
    "scaled-fashion": 55_000,
    "scaled-fashion-small": fashion_small.TRAIN,
    "scaled-shakespeare": 7_842,
}
"""Number of training samples of these families."""


def within(
    name: str, width: int, depth: int, samples: int | None, epochs: int, batch_size: int
) -> tuple[int, int]:
    """Return a member's number of samples, and its epochs for about as many steps as with all
    samples.

    Raises:
        UserError: A number is not above zero, or there are too few samples.
    """
    whole = WHOLE[name]
    count = whole if samples is None else samples
    if min(width, depth, count) < 1 or count > whole:
        raise UserError(
            f"{name} takes a width and a depth of at least 1 and 1 to {whole:,} samples, not width "
            f"{width}, depth {depth}, samples {count}"
        )
    steps = [math.ceil(each / batch_size) for each in (whole, count)]  # of an epoch
    return count, max(1, round(epochs * steps[0] / steps[1]))


def member(
    base: Task, name: str, inputs: int, width: int, depth: int, samples: int | None, epochs: int
) -> Task:
    """Return the task with a network of this size on its data.

    Raises:
        UserError: A number is not above zero, or there are too few samples.
    """
    count, lengthened = within(name, width, depth, samples, epochs, base.batch_size)
    return replace(
        base,
        name=f"{name}-w{width}-d{depth}-n{count}",
        summary=f"{base.summary.partition(',')[0]}, {depth} hidden layers of {width}, "
        f"{count:,} training samples",
        load=FirstSamples(base.load, count),
        model=Layers(inputs, width, depth),
        epochs=lengthened,
    )


@dataclass(frozen=True)
class FirstSamples:
    """A data set with only the first of its training samples.

    Attributes:
        load: Returns the complete data set.
        count: Number of training samples to use.
    """

    load: Callable[[Path | None], Data]
    count: int

    def __call__(self, folder: Path | None = None) -> Data:
        """Return the data."""
        data = self.load(folder)
        return replace(data, train=data.train.some(torch.arange(self.count)))


@dataclass(frozen=True)
class Layers:
    """Builds networks from inputs of any shape to ten logits, with hidden tanh layers.

    Attributes:
        inputs: Numbers in an input.
        width: Width of the hidden layers.
        depth: Number of hidden layers.
    """

    inputs: int
    width: int
    depth: int

    def __call__(self) -> nn.Module:
        """Return a new network."""
        hidden = [
            module
            for before, after in pairwise([self.inputs, *[self.width] * self.depth])
            for module in (nn.Linear(before, after), nn.Tanh())
        ]
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(self.width, 10))


FAMILIES = {
    "scaled-fashion-small": scaled_fashion_small,
    "scaled-fashion": scaled_fashion,
    "scaled-shakespeare": scaled_shakespeare,
}
"""All families by name."""
