"""Whether attributions describe the model: they are tested by hiding the features that they rank.

Deletion and insertion: Petsiuk, Das and Saenko, "RISE", BMVC 2018, section 4.3. Infidelity and
max-sensitivity: Yeh et al., "On the (in)fidelity and sensitivity of explanations", NeurIPS 2019,
definitions 2.1 and 3.1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from beyondprop.audit.explanations.evidence import Told, without_graph
from beyondprop.audit.explanations.regions import count_of, shown, summed
from beyondprop.errors import UserError


def deletion(
    told: Told, inputs: Tensor, classes: Tensor, importance: Tensor, absent: Tensor, steps: int = 20
) -> Tensor:
    """Return the explained quantity while the most important features are hidden first; a faithful
    ranking makes it fall early.

    In images, complete pixels are hidden, ranked by the sum over their channels.

    Args:
        told: The explained quantity, such as `probability(model)`.
        inputs: ``(n, ...)``; four dimensions mean images, ``(n, channels, height, width)``.
        classes: ``(n,)``.
        importance: In the shape of the inputs; see `Attribution.importance`.
        absent: Replaces hidden features; in the shape of one input.
        steps: Number of equal steps until everything is hidden.

    Returns:
        Shape ``(n, steps + 1)``, from the complete input to `absent`.
    """
    return _curve(told, inputs, classes, _ranks(importance), absent, steps, hides=True)


def insertion(
    told: Told, inputs: Tensor, classes: Tensor, importance: Tensor, absent: Tensor, steps: int = 20
) -> Tensor:
    """Return the explained quantity while the most important features are shown first; a faithful
    ranking makes it rise early.

    See `deletion`; the curves go from `absent` to the complete input.
    """
    return _curve(told, inputs, classes, _ranks(importance), absent, steps, hides=False)


def area(curves: Tensor) -> Tensor:
    """Return the area under curves ``(n, steps + 1)`` over [0, 1], by the trapezoidal rule:
    ``(n,)``.
    """
    return torch.trapezoid(curves, dx=1 / (curves.shape[1] - 1), dim=1)


def _ranks(importance: Tensor) -> Tensor:
    """Return the rank of each number within its sample as a share in [0, 1), 0 for the most
    important, in a shape that broadcasts with the inputs.
    """
    cells = importance.sum(1, keepdim=True) if importance.dim() == 4 else importance
    order = cells.flatten(1).argsort(dim=1, descending=True, stable=True)  # (n, cells)
    return (order.argsort(dim=1).double() / order.shape[1]).view_as(cells)


def _curve(
    told: Told,
    inputs: Tensor,
    classes: Tensor,
    ranks: Tensor,
    absent: Tensor,
    steps: int,
    *,
    hides: bool,
) -> Tensor:
    if steps < 1:
        raise UserError("a curve needs at least one step")
    shares = torch.arange(steps + 1) / steps
    points = []
    for share in shares.tolist():
        first = ranks < share  # the most important so far
        mixed = torch.where(first ^ hides, inputs, absent)
        points.append(without_graph(told, mixed, classes))  # (n,)
    return torch.stack(points, 1)


def removals(
    told: Told,
    inputs: Tensor,
    classes: Tensor,
    absent: Tensor,
    regions: Tensor,
    draws: int,
    seed: int,
    share: float = 0.25,
) -> tuple[Tensor, Tensor]:
    """Return random sets of regions, and the decrease caused by hiding each set.

    Args:
        told: The explained quantity, such as `evidence(model)`.
        inputs: ``(n, ...)``.
        classes: ``(n,)``.
        absent: Replaces hidden regions; in the shape of one input.
        regions: Regions of one input.
        draws: Number of sets for each sample.
        seed: Seed of the draws.
        share: Share of the regions in each set.

    Returns:
        Which regions are hidden, ``(draws, n, regions)`` bool, and the decrease, ``(draws, n)``.
    """
    count, n = count_of(regions), len(inputs)
    size = min(max(1, round(share * count)), count)
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(draws, n, count, generator=generator).argsort(2).argsort(2)
    hidden = (order < size).to(inputs.device)  # (draws, n, regions)
    whole = without_graph(told, inputs, classes)  # (n,)
    left = [without_graph(told, shown(inputs, absent, regions, ~each), classes) for each in hidden]
    return hidden, whole - torch.stack(left)


def said_of(contributions: Tensor, regions: Tensor, hidden: Tensor) -> Tensor:
    """Return the decrease that contributions predict for each set of hidden regions: ``(draws,
    n)``.

    Args:
        contributions: ``(n, ...)``; see `Attribution.contributions`.
        regions: Regions of one input.
        hidden: ``(draws, n, regions)`` bool.
    """
    return (hidden * summed(contributions, regions)).sum(2)


def infidelity(said: Tensor, taken: Tensor) -> Tensor:
    """Return the mean squared difference between the predicted and the measured decrease: ``(n,)``.
    Yeh et al. 2019, definition 2.1.

    Args:
        said: Predicted decrease, ``(draws, n)``.
        taken: Measured decrease, ``(draws, n)``.
    """
    return (said - taken).square().mean(0)


def relative_infidelity(said: Tensor, taken: Tensor) -> Tensor:
    """Return the infidelity after the best scaling of the attributions, relative to that of zero
    attributions: ``(n,)``, 0 for faithful attributions, 1 for uninformative ones.

    The scaling is that of Yeh et al. 2019, section 2 (captum's ``normalize=True``). It makes models
    whose outputs have different scales comparable.

    Args:
        said: Predicted decrease, ``(draws, n)``.
        taken: Measured decrease, ``(draws, n)``.
    """
    size = taken.square().mean(0)  # (n,)
    both, own = (said * taken).mean(0), said.square().mean(0)
    small = torch.finfo(own.dtype).tiny
    known = torch.where(own > 0, both.square() / own.clamp_min(small), 0)  # as it explains best
    return torch.where(size > 0, 1 - known / size.clamp_min(small), 0)


def sensitivity(
    maps: Callable[[Tensor], Tensor], inputs: Tensor, radius: float, draws: int, seed: int
) -> Tensor:
    """Return the largest relative change of attributions under small changes of the inputs:
    ``(n,)``, as a share of their norm. Yeh et al. 2019, definition 3.1, by random draws.

    Args:
        maps: Inputs ``(n, ...)`` to attributions in their shape.
        inputs: ``(n, ...)``.
        radius: Maximum change of each number of an input.
        draws: Changed inputs for each sample; the result is a lower bound of the true maximum.
        seed: Seed of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    here = maps(inputs).flatten(1)
    most = here.new_zeros(len(inputs))
    for _ in range(draws):
        moved = (torch.rand(inputs.shape, generator=generator) * 2 - 1).to(inputs) * radius
        most = torch.maximum(most, (maps(inputs + moved).flatten(1) - here).norm(dim=1))
    size: Tensor = here.norm(dim=1)
    return most / size.clamp_min(torch.finfo(here.dtype).tiny)
