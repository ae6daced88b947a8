"""Similarity matching, and its weighted sum with a classifier's loss."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from beyondprop.core import At
from beyondprop.errors import UserError
from beyondprop.registry.limits import Share
from beyondprop.rules.local.heads import Head
from beyondprop.rules.local.objectives import Criterion, CrossEntropy, Objective, criterion_of
from beyondprop.shapes import SOURCE, Axes, channels_first, has_positions, pooled


@dataclass(frozen=True)
class SimilarityMatching(Objective):
    """Similarity matching: samples of like targets get similar activities, others unlike ones.

    ``|S(g(h)) - S(y)|²``, averaged over pairs, with ``S`` the cosines between centred samples,
    ``g`` a trained 3 x 3 convolution or linear layer, and ``y`` one-hot; feature maps are reduced
    to the standard deviation of each channel over its positions (Nøkland and Eidnes 2019, section
    2). It compares all pairs of a batch: ``batch²`` values. For labels and values, which no paper
    covers, ``S(y)`` is ``exp(-|y_i - y_j|² / 2 v)``, with ``v`` the variance of the batch's
    targets: as for one-hot classes, it is 1 for equal targets and about 0 for distant ones.

    Args:
        criterion: The type of the targets, see `CrossEntropy`.
        bias: Whether ``g`` has a bias. The paper does not state it; the released code has none. On
            maps it has no effect, as a channel's deviation does not depend on it.
    """

    name: ClassVar[str] = "sim"
    bias: bool = True
    criterion: Criterion | None = None

    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the mean squared difference of similarities."""
        criterion = self.criterion or criterion_of(at)
        targets, axes = criterion.targets(at, classes), at.axes
        x = at.output
        assert x is not None
        by_position = criterion.of_classes and targets.dim() > 1
        if by_position and (axes == SOURCE or channels_first(x, axes)):
            raise UserError(
                "similarity matching compares samples, but here every position has its own class: "
                "use LocalLoss(CrossEntropy())"
            )
        if channels_first(x, axes):
            x = head.convolution("similarity", x, x.shape[1], bias=self.bias)
            x = similar_features(x, axes)
        else:
            if criterion.of_classes and has_positions(x, axes, targets):
                x, targets = x.reshape(-1, x.shape[-1]), targets.flatten()  # (tokens, features)
            x = pooled(x, axes, x[0].numel())
            x = head.linear("similarity", x, x.shape[1], self.bias)  # (rows, features)
        if not criterion.of_classes:
            return F.mse_loss(centred_cosines(x), closeness(targets.to(x.dtype)))
        known = (targets >= 0).unsqueeze(1)
        found = centred_cosines(x * known)
        wanted = centred_cosines(one_hot(targets, classes).to(x.dtype))
        # For ignored targets both are 0, as if the sample were not in the batch.
        pairs = known.sum().square().clamp(min=1)
        return F.mse_loss(found, wanted, reduction="sum") / pairs

    def parameters(self, depth: float) -> Sequence[str]:  # noqa: ARG002
        """Return the names of the layer's parameters."""
        return ("similarity.weight", "similarity.bias") if self.bias else ("similarity.weight",)


@dataclass(frozen=True)
class PredSim(Objective):
    """The paper's weighted sum of the two: (1 - β) cross-entropy + β similarity matching.

    Nøkland and Eidnes 2019, section 2.4, with β = 0.99.

    Args:
        beta: Weight of similarity matching, 0 to 1.
        prediction: The cross-entropy.
        similarity: The similarity matching; ``SimilarityMatching(bias=False)`` as in the released
            code.
    """

    name: ClassVar[str] = "predsim"
    beta: Share = 0.99
    prediction: CrossEntropy = field(default_factory=CrossEntropy)
    similarity: SimilarityMatching = field(default_factory=SimilarityMatching)

    def loss(self, at: At, head: Head, classes: int) -> Tensor:
        """Return the weighted sum."""
        similarity = self.similarity.loss(at, head, classes)
        prediction = self.prediction.loss(at, head, classes)
        return (1 - self.beta) * prediction + self.beta * similarity

    def parameters(self, depth: float) -> Sequence[str]:
        """Return the names of both parts' parameters."""
        return (*self.prediction.parameters(depth), *self.similarity.parameters(depth))


def similar_features(x: Tensor, axes: Axes) -> Tensor:
    """Return ``(batch, features)``; more than three maps are reduced to their deviations."""
    if channels_first(x, axes) and x.shape[1] > 3 and x[0, 0].numel() > 1:
        return x.flatten(2).std(2)  # (batch, channels)
    return x.flatten(1)


def centred_cosines(x: Tensor) -> Tensor:
    """Return the cosines between samples ``(batch, features)``, after subtracting their means."""
    normed = F.normalize(x - x.mean(1, keepdim=True), dim=1, eps=1e-8)
    return normed @ normed.t()


def closeness(targets: Tensor) -> Tensor:
    """Return the similarity of the targets ``(batch, k)`` of samples, from 0 to 1."""
    apart = (targets.unsqueeze(0) - targets.unsqueeze(1)).square().sum(2)  # (batch, batch)
    variance = (targets - targets.mean(0)).square().sum(1).mean()
    return torch.exp(-apart / (2 * variance.clamp(min=torch.finfo(targets.dtype).tiny)))


def one_hot(targets: Tensor, classes: int) -> Tensor:
    """Return ``(rows, classes)``; a negative number, which losses ignore, gives a row of zeros."""
    known = (targets >= 0).unsqueeze(1)
    return torch.zeros(len(targets), classes, dtype=torch.float32, device=targets.device).scatter(
        1, targets.clamp(min=0).unsqueeze(1), known.float()
    )


REGISTERED = (SimilarityMatching, PredSim)
