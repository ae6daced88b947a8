"""Inputs as pyautoattack takes them: images, and a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from beyondprop.audit.logits import Logits


def drawn_seed() -> int:
    """Return a seed drawn by the global generator: pyautoattack seeds it anew."""
    return int(torch.randint(2**31, ()))


def as_images(units: Tensor) -> Tensor:
    """Return units as pyautoattack takes them, ``(n, channels, height, width)``.

    Other inputs are one row of pixels, with one more at its end: Square never moves the last one.
    """
    if units.dim() == 4:
        return units
    flat = units.flatten(1)  # (n, features)
    return torch.cat([flat, torch.zeros_like(flat[:, :1])], dim=1)[:, None, None]  # (n, 1, 1, f+1)


def from_images(images: Tensor, units: Tensor) -> Tensor:
    """Return such images as units of the kind given."""
    if units.dim() == 4:
        return images
    return images[:, 0, 0, :-1].reshape(-1, *units.shape[1:])


def of_images(logits: Logits, units: Tensor) -> Logits:
    """Return the classifier of such images."""
    return lambda images: logits(from_images(images, units))
