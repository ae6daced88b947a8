"""Inputs in the form that pyautoattack requires: images, and a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from beyondprop.audit.logits import Logits


def drawn_seed() -> int:
    """Return a seed drawn from the global generator, because pyautoattack reseeds it."""
    return int(torch.randint(2**31, ()))


def as_images(units: Tensor) -> Tensor:
    """Return units in the form that pyautoattack requires, ``(n, channels, height, width)``.

    Inputs that are not images become one row of pixels, with one more at the end: Square never
    moves the last one.
    """
    if units.dim() == 4:
        return units
    flat = units.flatten(1)  # (n, features)
    return torch.cat([flat, torch.zeros_like(flat[:, :1])], dim=1)[:, None, None]  # (n, 1, 1, f+1)


def from_images(images: Tensor, units: Tensor) -> Tensor:
    """Return the result of `as_images` in the original shape of the units."""
    if units.dim() == 4:
        return images
    return images[:, 0, 0, :-1].reshape(-1, *units.shape[1:])


def of_images(logits: Logits, units: Tensor) -> Logits:
    """Return the classifier as a function of the result of `as_images`."""
    return lambda images: logits(from_images(images, units))
