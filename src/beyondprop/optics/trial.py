"""Trying a device out at any width: how far from the exact product it is, without its matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.optics.bench import Bench
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.medium import Medium


@dataclass(frozen=True)
class PhotonicErrors:
    """How far a device's projection of some vectors is from the exact product.

    Attributes:
        outputs: How many were simulated.
        encoding: Error of the encoded vectors, relative to the vectors, root mean square.
        light: Error of what arrives, relative to the exact product of the encoded vectors.
        whole: Error of what arrives, relative to the exact product.
        cosine: Between what arrives and the exact product.
    """

    outputs: int
    encoding: float
    light: float
    whole: float
    cosine: float


@torch.no_grad()
def errors(device: PhotonicProcessor, x: Tensor, outputs: int, seed: int) -> PhotonicErrors:
    """Return the errors of a device, just calibrated, at some of its outputs.

    A few vectors span a space of few dimensions, and a matrix of independent Gaussians is one in
    any orthonormal basis. So all that a camera sees of these vectors is drawn as what a medium with
    one input for each of them makes of their coordinates: exactly as likely as by the medium of
    full width, whose million inputs need not be drawn.

    Args:
        device: The device.
        x: A few vectors ``(n, in)``, float32 or float64.
        outputs: How many to simulate. They are independent of each other.
        seed: Of the medium, hot pixels and noise.
    """
    frames, weights = device.encoder.encode(x)
    flat = frames.flatten(0, 1)
    medium = Medium(device.scattering, seed, 0, len(flat) + len(x), outputs, x.dtype, x.device)
    fields = medium.carry(coordinates(torch.cat([flat, x])), 0)
    mean = 2 / outputs  # E|T|²
    bench = Bench(
        field=fields[: len(flat)],
        power=flat.square().sum(-1, keepdim=True) * mean,
        typical=x.shape[-1] / 2 * mean,
        medium=medium,
        shots=0,
        camera=device.camera,
        generator=torch.Generator(x.device).manual_seed(seed),
        seed=seed,
    )

    def whole(fields: Tensor) -> Tensor:
        return (fields.real.view(*weights.shape, outputs) * weights.unsqueeze(-1)).sum(1)

    exact, shown = fields[len(flat) :].real, whole(bench.field)
    found = whole(device.retrieval.recover(bench))
    encoded = (frames * weights.unsqueeze(-1)).sum(1)
    cosine = (found * exact).sum() / (found.norm() * exact.norm())
    return PhotonicErrors(
        outputs,
        encoding=float((encoded - x).norm() / x.norm()),
        light=float((found - shown).norm() / shown.norm()),
        whole=float((found - exact).norm() / exact.norm()),
        cosine=float(cosine),
    )


def coordinates(rows: Tensor) -> Tensor:
    """Return as many coordinates as rows, of the same inner products."""
    values, vectors = torch.linalg.eigh((rows @ rows.t()).double())
    found: Tensor = vectors * values.clamp(min=0).sqrt()
    return found.to(rows.dtype)
