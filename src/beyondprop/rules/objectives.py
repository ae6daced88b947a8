"""What a block may lower by itself: objectives of `LocalLoss`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from .auxiliary import AugLocal, Auxiliary, Plain
from .features import by_token, centred_cosines, of_maps, one_hot, pooled, similar_features
from .local import Passed

IGNORED = -100
"""The class that `F.cross_entropy` leaves out; here every negative number is."""


class Objective(ABC):
    """What every block lowers under `LocalLoss`."""

    name: ClassVar[str]
    needs_targets: ClassVar[bool] = True

    @abstractmethod
    def loss(self, passed: Passed) -> Tensor:
        """Return the loss of one block, a scalar."""

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the parameters that stand on a block at this depth (0 to 1)."""
        return ()

    def settings(self) -> dict[str, Any]:
        """Return what is needed to build the same objective again, as JSON values."""
        return {"name": self.name, **asdict(self)}  # type: ignore[call-overload]


@dataclass(frozen=True)
class CrossEntropy(Objective):
    """Cross-entropy of a linear classifier on every block: decoupled greedy learning.

    Feature maps are averaged over patches first, to ``features`` numbers at most (Belilovsky,
    Eickenberg and Oyallon 2019 and 2020; Nøkland and Eidnes 2019 call it pred). What every position
    has a class for (tokens, pixels) is classified position by position.

    Args:
        auxiliary: Layers between the block and the classifier; none by default.
        features: Most inputs of the classifier.
    """

    name: ClassVar[str] = "dgl"
    auxiliary: Auxiliary = field(default_factory=Plain)
    features: int = 2048

    def loss(self, passed: Passed) -> Tensor:
        """Return the mean cross-entropy."""
        return F.cross_entropy(*self.logits(passed))

    def logits(self, passed: Passed) -> tuple[Tensor, Tensor]:
        """Return logits ``(rows, classes, ...)`` and class numbers ``(rows, ...)``."""
        targets = classes(passed)
        x = self.auxiliary.apply(passed)
        if of_maps(x, targets):
            logits = passed.head.convolution("classifier", x, passed.classes, size=1)
            return F.interpolate(logits, targets.shape[1:]), targets
        if by_token(x, targets):
            x, targets = x.flatten(0, 1), targets.flatten()
        logits = passed.head.linear("classifier", pooled(x, self.features), passed.classes)
        return logits, targets

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the classifier's parameters and of the layers before it."""
        return (*self.auxiliary.parameters(depth), "classifier.weight", "classifier.bias")


@dataclass(frozen=True)
class SimilarityMatching(Objective):
    """Similarity matching: samples of one class get similar activities, others unlike ones.

    ``|S(g(h)) - S(y)|²``, averaged over pairs, with ``S`` the cosines between centred samples,
    ``g`` a 3 x 3 convolution or a linear layer that learns too, and ``y`` one-hot; feature maps
    enter by the standard deviation of each channel over its positions (Nøkland and Eidnes 2019,
    section 2). It compares all pairs of a batch: ``batch²`` numbers.
    """

    name: ClassVar[str] = "sim"

    def loss(self, passed: Passed) -> Tensor:
        """Return the mean squared difference of similarities."""
        targets, x = classes(passed), passed.output
        if of_maps(x, targets):
            raise UserError(
                "similarity matching compares samples, and here every position has a class of its "
                "own: use LocalLoss(CrossEntropy())"
            )
        if by_token(x, targets):
            x, targets = x.flatten(0, 1), targets.flatten()
        if x.dim() in (4, 5):
            x = passed.head.convolution("similarity", x, x.shape[1])
        else:
            x = passed.head.linear("similarity", x.flatten(1), x.flatten(1).shape[1])
        known = (targets >= 0).unsqueeze(1)
        found = centred_cosines(similar_features(x) * known)
        wanted = centred_cosines(one_hot(targets, passed.classes).to(x.dtype))
        # Of what losses leave out both are 0: as if it were not in the batch.
        pairs = known.sum().square().clamp(min=1)
        return F.mse_loss(found, wanted, reduction="sum") / pairs

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the layer's parameters."""
        return ("similarity.weight", "similarity.bias")


@dataclass(frozen=True)
class PredSim(Objective):
    """The published mix of the two: (1 - β) cross-entropy + β similarity matching.

    Nøkland and Eidnes 2019, section 2.4, with β = 0.99.

    Args:
        beta: Share of similarity matching, 0 to 1.
        prediction: The cross-entropy.
    """

    name: ClassVar[str] = "predsim"
    beta: float = 0.99
    prediction: CrossEntropy = field(default_factory=CrossEntropy)

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise UserError(f"PredSim(beta=…) is a share from 0 to 1, not {self.beta}")

    def loss(self, passed: Passed) -> Tensor:
        """Return the weighted sum."""
        similarity = SimilarityMatching().loss(passed)
        return (1 - self.beta) * self.prediction.loss(passed) + self.beta * similarity

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of both parts' parameters."""
        return (*self.prediction.parameters(depth), *SimilarityMatching().parameters(depth))


@dataclass(frozen=True)
class InfoPro(Objective):
    """Information propagation: classify, and keep what tells of the input.

    ``λ₁ |x - w(h)|² + λ₂ CE(φ(h), y)``: the reconstruction by a small decoder ``w`` keeps early
    blocks from throwing away what later ones need (Wang, Ni, Song, Yang and Huang 2021, equation 6,
    in the form with a softmax). Both weights change linearly from the first block to the last; the
    paper chooses them anew for each network, from 0 to 20 and from 0 to 2. Its decoder ends in a
    sigmoid, for pixels from 0 to 1; inputs here are standardised, so the decoder is linear at its
    end and the error is squared. Images are reconstructed at ``side`` by ``side`` pixels at most,
    averaged over patches: the decoder at all pixels, as in the paper, takes several times as long
    as a narrow block.

    Args:
        reconstruction: λ₁ of the first block and of the last.
        prediction: λ₂ of the first block and of the last.
        classifier: The cross-entropy; as published, with a layer between block and classifier.
        channels: Hidden channels of the decoder.
        side: Most pixels along a side of what is reconstructed.
    """

    name: ClassVar[str] = "infopro"
    reconstruction: tuple[float, float] = (1.0, 0.2)
    prediction: tuple[float, float] = (1.0, 1.0)
    classifier: CrossEntropy = field(default_factory=lambda: CrossEntropy(AugLocal(1, 1)))
    channels: int = 12
    side: int = 16

    def loss(self, passed: Passed) -> Tensor:
        """Return the weighted sum."""
        kept, told = (
            first + passed.depth * (last - first)
            for first, last in (self.reconstruction, self.prediction)
        )
        return told * self.classifier.loss(passed) + kept * self._reconstruction(passed)

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of the decoder's and the classifier's parameters."""
        names = [f"decoder{i}.{part}" for i in (1, 2) for part in ("weight", "bias")]
        return (*names, *self.classifier.parameters(depth))

    def _reconstruction(self, passed: Passed) -> Tensor:
        x, h = passed.inputs, passed.output
        if x is None or not x.is_floating_point():
            raise UserError(
                "InfoPro reconstructs the model's input, which must be a tensor of floats: use "
                "LocalLoss(PredSim()) for this model"
            )
        head = passed.head
        if h.dim() == x.dim() == 4:
            sides = min(self.side, x.shape[2]), min(self.side, x.shape[3])
            x = F.adaptive_avg_pool2d(x, sides)
            h = F.interpolate(h, sides, mode="bilinear", align_corners=True)
            hidden = head.convolution("decoder1", h, self.channels)
            hidden = F.relu(F.batch_norm(hidden, None, None, training=True))
            return F.mse_loss(head.convolution("decoder2", hidden, x.shape[1]), x)
        wanted = x.flatten(1)
        hidden = F.relu(head.linear("decoder1", h.flatten(1), self.channels * 10))
        return F.mse_loss(head.linear("decoder2", hidden, wanted.shape[1]), wanted)


def classes(passed: Passed) -> Tensor:
    """Return the targets as class numbers.

    Raises:
        UserError: There are none, or they are not class numbers that the output has.
    """
    targets = passed.targets
    if targets is None or targets.is_floating_point():
        raise UserError(
            "this local loss classifies, so its targets must be class numbers: "
            "handle.targets(y) with whole numbers"
        )
    targets = targets.to(passed.output.device, torch.int64)
    targets = targets.masked_fill(targets < 0, IGNORED)
    if targets.numel() and not torch.compiler.is_compiling() and targets.max() >= passed.classes:
        raise UserError(
            f"a target is class {int(targets.max())}, but there are {passed.classes} classes, "
            "counted from 0: give LocalLoss(..., classes=…)"
        )
    if targets.shape[:1] != passed.output.shape[:1]:
        raise UserError(
            f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
            f"{tuple(passed.output.shape)}: both must begin with the same batch dimension"
        )
    x = passed.output
    if targets.dim() != 1 and not (by_token(x, targets) or of_maps(x, targets)):
        raise UserError(
            f"targets of shape {tuple(targets.shape)} cannot teach a block whose output has shape "
            f"{tuple(x.shape)}: it has no row for each of them; name blocks that do, or give this "
            "one another rule"
        )
    return targets
