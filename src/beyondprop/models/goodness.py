"""Networks that classify by goodness: they predict the class whose label makes them most active."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.projections import Dense


def goodness(x: Tensor) -> Tensor:
    """Return the mean square activity of each sample: ``(rows, ...)`` to ``(rows,)``."""
    return x.square().flatten(1).mean(1)


def normalised(x: Tensor) -> Tensor:
    """Return each sample scaled to a mean square of 1, which removes its goodness.

    Hinton 2022, section 2.1: the next block gets only the direction of the activities.
    """
    mean = x.square().flatten(1).mean(1)
    return x / (mean + 1e-8).sqrt().view(-1, *[1] * (x.dim() - 1))


class Doubled(nn.Module):
    """Twice its input.

    After a first layer it gives ``2 (W x + b)``, the result of the released code of
    self-contrastive forward-forward for an input concatenated with itself, in training and for the
    read-out.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return twice the input."""
        return 2 * x


class LabelEmbedding(nn.Module, ABC):
    """Writes a class into an input.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    @abstractmethod
    def embedded(self, x: Tensor, labels: Tensor) -> Tensor:
        """Return ``(rows, ...)`` inputs with the classes ``(rows,)`` in them, as a new tensor."""

    def forward(self, x: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return every input with each of its candidate classes in it.

        Args:
            x: ``(batch, ...)``.
            candidates: Classes ``(batch, k)``; by default all of them.

        Returns:
            Shape ``(batch * k, ...)``, an input's candidates one after another.
        """
        if candidates is None:
            candidates = torch.arange(self.classes, device=x.device).expand(len(x), -1)
        if candidates.dim() != 2 or len(candidates) != len(x):
            raise UserError(
                f"candidates must be classes of shape (batch, k) for a batch of {len(x)}, got "
                f"{tuple(candidates.shape)}"
            )
        if candidates.is_floating_point() or (
            not torch.compiler.is_compiling()
            and candidates.numel()
            and not 0 <= int(candidates.min()) <= int(candidates.max()) < self.classes
        ):
            raise UserError(
                f"candidates must be class numbers from 0 to {self.classes - 1}: other numbers are "
                "not classes"
            )
        candidates = candidates.to(torch.int64)
        return self.embedded(x.repeat_interleave(candidates.shape[1], dim=0), candidates.flatten())


class FirstPixels(LabelEmbedding):
    """A one-hot label in the first values of an input, as in Hinton 2022 for digits.

    Args:
        classes: Number of classes; inputs must have at least this number of values.
        low: Value for all other classes, usually that of the background.
        high: Value for the class.
    """

    def __init__(self, classes: int, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__(classes)
        self.low, self.high = low, high

    def embedded(self, x: Tensor, labels: Tensor) -> Tensor:
        """Overwrite the first values."""
        flat = x.flatten(1).clone()
        if flat.shape[1] < self.classes:
            raise UserError(
                f"an input of {flat.shape[1]} numbers has no room for {self.classes} classes: use "
                "AddedPattern(classes, shape)"
            )
        flat[:, : self.classes] = self.low
        flat.scatter_(1, labels.unsqueeze(1), self.high)
        return flat.view(x.shape)


class AddedPattern(LabelEmbedding):
    """A fixed random pattern for each class, added to the complete input.

    Use it for convolutions, which would not find a label in a corner. The patterns are Gaussian,
    with the size ``strength`` relative to standardised inputs.

    Args:
        classes: Number of classes.
        shape: Shape of one input.
        strength: Standard deviation of the patterns.
        seed: Seed of the patterns.
    """

    def __init__(
        self, classes: int, shape: Iterable[int], strength: float = 1.0, seed: int = 0
    ) -> None:
        super().__init__(classes)
        size = torch.Size(shape)
        drawn = Dense(seed).matrix(classes, size.numel(), 0, torch.empty(0))
        patterns = drawn * (size.numel() ** 0.5 * strength)
        self.register_buffer("patterns", patterns.view(classes, *size), persistent=False)

    def embedded(self, x: Tensor, labels: Tensor) -> Tensor:
        """Add the patterns."""
        patterns: Tensor = self.patterns  # type: ignore[assignment]
        if x.shape[1:] != patterns.shape[1:]:
            raise UserError(
                f"AddedPattern was made for inputs of shape {tuple(patterns.shape[1:])}, not "
                f"{tuple(x.shape[1:])}"
            )
        return x + patterns[labels].to(x.dtype)


class GoodnessNetwork(nn.Module):
    """A network that scores a class by how active its blocks are when the class is in the input.

    The blocks run one after another, each on the normalised output of the previous one. The score
    is the sum of their goodness (Hinton 2022), which is the mean square of their activities, so
    that all blocks have the same weight, or the sum of squares, as in the paper. If all blocks have
    the same size, both rank the classes alike. Every class requires a separate pass. The network
    can be trained with `ForwardForward` and with any other rule.

    Args:
        blocks: Modules from input to output; each ends in an activation.
        label: Writes the class into the input.
        first: The first block whose goodness is counted; the paper omits block 0, which sees the
            label itself.
        summed: Whether a block's goodness is the sum of its squared activities, not their mean.
    """

    def __init__(
        self,
        blocks: Iterable[nn.Module],
        label: LabelEmbedding,
        first: int = 1,
        summed: bool = False,
    ) -> None:
        super().__init__()
        self.summed = summed
        self.label = label
        self.blocks = nn.ModuleList(blocks)
        self.first = first
        if not 0 <= first < len(self.blocks):
            raise UserError(
                f"first={first} leaves no block whose goodness counts: there are "
                f"{len(self.blocks)} blocks, counted from 0"
            )

    def forward(self, x: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Return the scores of each input's candidate classes.

        Args:
            x: ``(batch, ...)``.
            candidates: Classes ``(batch, k)``; by default all of them in order.

        Returns:
            Shape ``(batch, k)``.
        """
        x_by_class = self.label(x, candidates)
        scores = []
        for i, block in enumerate(self.blocks):
            x_by_class = block(normalised(x_by_class))
            if i >= self.first:
                units = x_by_class[0].numel() if self.summed else 1
                scores.append(goodness(x_by_class) * units)
        return torch.stack(scores).sum(0).view(len(x), -1)
