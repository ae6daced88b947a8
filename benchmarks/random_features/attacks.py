"""Attacks within a box of ε around each image: by gradients, and by queries only.

FGSM: Goodfellow, Shlens and Szegedy 2015. PGD: Madry et al. 2018. Square: a random search after
Andriushchenko et al., "Square Attack", 2020, with a simple schedule of sizes. An attack returns
images; another pass of the model scores them. Attacks do not depend on how a model was taught: the
caller decides which gradient a model has.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

Model = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Box:
    """The changes that an attacker may make.

    Attributes:
        radius: ε, the largest change of a pixel, in the images' units.
        low: The smallest value of a pixel.
        high: The largest value of a pixel.
    """

    radius: float
    low: float
    high: float

    def clip(self, moved: Tensor, images: Tensor) -> Tensor:
        """Return the nearest allowed images."""
        near = torch.minimum(torch.maximum(moved, images - self.radius), images + self.radius)
        return near.clamp(self.low, self.high)


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the lead of each sample's label; negative if another class leads."""
    own = one_hot(labels, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).amax(1)


def by_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Return a loss that does not vanish for a confident classifier (Carlini and Wagner 2017)."""
    return -margin(logits, labels).sum()


def fgsm(model: Model, x: Tensor, y: Tensor, box: Box) -> Tensor:
    """Return images after one step up the loss, by the sign of its gradient."""
    return box.clip(x + box.radius * _uphill(model, x, y, cross_entropy), x)


def pgd(
    model: Model,
    x: Tensor,
    y: Tensor,
    box: Box,
    steps: int = 40,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> Tensor:
    """Return each image's worst of many steps up the loss, by the margin, from a random start."""
    moved = box.clip(x + torch.empty_like(x).uniform_(-box.radius, box.radius), x)
    worst, least = x, torch.full((len(x),), torch.inf)
    for _ in range(steps):
        moved = box.clip(moved + 2.5 / steps * box.radius * _uphill(model, moved, y, loss), x)
        worst, least = _worse(model, moved, y, worst, least)
    return worst


def square(model: Model, x: Tensor, y: Tensor, box: Box, queries: int = 500) -> Tensor:
    """Return images with random changes of squares, which are kept if the margin decreases.

    Args:
        model: The model, of which only the outputs are used.
        x: Square images ``(n, 1, side, side)``.
        y: Their labels.
        box: The allowed changes.
        queries: Queries of the model per image.
    """
    side = x.shape[-1]
    stripes = torch.randint(2, (len(x), 1, 1, side)) * 2 - 1
    worst, least = _worse(
        model, box.clip(x + box.radius * stripes, x), y, x, margin(_seen(model, x), y)
    )
    place = torch.arange(side)
    for query in range(queries - 2):
        length = max(1, round(side * (0.5 * (1 - query / queries))))
        top, left = torch.randint(side - length + 1, (2, len(x), 1))
        rows, columns = ((p <= place) & (place < p + length) for p in (top, left))
        inside = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(1)
        sign = torch.randint(2, (len(x), 1, 1, 1)) * 2 - 1
        tried = box.clip(torch.where(inside, x + box.radius * sign, worst), x)
        worst, least = _worse(model, tried, y, worst, least)
    return worst


def _uphill(model: Model, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    leaf = x.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(model(leaf), y), leaf)
    return gradient.sign()


def _worse(
    model: Model, tried: Tensor, y: Tensor, worst: Tensor, least: Tensor
) -> tuple[Tensor, Tensor]:
    found = margin(_seen(model, tried), y)
    better = found < least
    return torch.where(better.view(-1, *[1] * (tried.dim() - 1)), tried, worst), torch.where(
        better, found, least
    )


@torch.no_grad()
def _seen(model: Model, x: Tensor) -> Tensor:
    return model(x)
