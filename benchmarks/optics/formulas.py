"""The theoretical values of each of the co-processor's errors, for `theory.py`.

All powers are in units of the mean intensity of a frame with half of its mirrors on, except in
`real_variance`, which takes fields in their own units.
"""

import math

import torch
from torch import Tensor

from beyondprop.optics import Anchors, PhaseShifting, Retrieval


def real_variance(
    kind: Retrieval, field: Tensor, known: Tensor, reference: float, gain: float, floor: float
) -> float:
    """Return the variance of a recovered field's real part, for independent noise in the readings.

    Args:
        kind: The retrieval.
        field: The fields, complex ``(rows, out)``.
        known: The anchors' fields, complex ``(count, out)``.
        reference: Intensity of the reference beam.
        gain: The part of a reading's variance that is proportional to the intensity: shot noise.
        floor: The constant part: read noise and rounding.
    """
    if isinstance(kind, Anchors):
        return anchored(field, known, gain, floor)
    # Each output's light is spread over steps, or over pixels: the same sum of independent noise.
    readings = kind.steps if isinstance(kind, PhaseShifting) else kind.pixels
    reading = gain * (float(field.abs().square().mean()) + reference) + floor
    return reading / (2 * readings * reference)


def anchored(field: Tensor, known: Tensor, gain: float, floor: float) -> float:
    """Return the same for anchors: the covariance of least squares for each output."""
    design = torch.stack([known.real, known.imag], -1).permute(1, 0, 2)  # (out, count, 2)
    inverse = torch.linalg.pinv(design)[:, 0]  # of which the real part takes the first row
    alone = gain * field.abs().square() + floor
    both = gain * (field.unsqueeze(0) + known.unsqueeze(1)).abs().square() + floor
    own = torch.einsum("oc,cro->ro", inverse.square(), both)
    # The shot without an anchor is subtracted from all others, and its noise with it.
    return float((own + inverse.sum(1).square() * alone).mean()) / 4


def clipped(well: float, reference: float) -> float:
    """Return the share of ``|y + r|²`` above a full well; y is a speckle of power 1 (Goodman 2007).

    A noncentral χ² distribution with two degrees of freedom, Marcum's Q function, as a sum over
    Poisson weights; without a reference ``exp(-well)``.
    """
    terms = torch.arange(200, dtype=torch.float64)
    logs = terms * math.log(max(reference, 1e-300)) - reference - torch.lgamma(terms + 1)
    tails = torch.special.gammaincc(terms + 1, torch.full_like(terms, well))
    return float((logs.exp() * tails).sum())


def clipping(well: float, reference: float, steps: int) -> float:
    """Return the error of phase shifting with clipping, relative to the field, by integration."""
    size = (torch.arange(1500, dtype=torch.float64) + 0.5) / 1500 * 7
    weight = 2 * size * (-size.square()).exp() * 7 / 1500  # Rayleigh's distribution
    phase = (torch.arange(256, dtype=torch.float64) + 0.5) * (2 * math.pi / 256)
    field = torch.polar(size.unsqueeze(1), phase.unsqueeze(0))
    lost = torch.zeros_like(field)
    for step in range(steps):
        turn = 2 * math.pi * step / steps
        beam = complex(math.cos(turn), math.sin(turn))
        over = ((field + math.sqrt(reference) * beam).abs().square() - well).clamp(min=0)
        lost += over * (beam / (steps * math.sqrt(reference)))
    return float((lost.abs().square().mean(1) * weight).sum().sqrt())


def unstable(share: float, reference: float, steps: int) -> float:
    """Return the error, relative to the field, if a share of the light is unstable in each shot.

    The error comes from the lost light, from unstable light that interferes with the reference, and
    from ``|y|²``, which differs between shots.
    """
    lost = (1 - math.sqrt(1 - share)) ** 2
    return math.sqrt(lost + 2 * share / steps + share * (2 - share) / (steps * reference))
