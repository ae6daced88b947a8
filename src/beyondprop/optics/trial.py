"""Trials of a device at any width: its error relative to the exact product, without its matrix."""

from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.optics.bench import Bench
from beyondprop.optics.device import PhotonicProcessor
from beyondprop.optics.medium import Medium


@dataclass(frozen=True)
class PhotonicErrors:
    """Errors of a device's projection of some vectors, relative to the exact product.

    Attributes:
        outputs: The number of simulated outputs.
        encoding: Error of the encoded vectors, relative to the vectors, root mean square.
        light: Error of the result, relative to the exact product of the encoded vectors.
        whole: Error of the result, relative to the exact product.
        cosine: The cosine between the result and the exact product.
    """

    outputs: int
    encoding: float
    light: float
    whole: float
    cosine: float


@torch.no_grad()
def errors(device: PhotonicProcessor, x: Tensor, outputs: int, seed: int) -> PhotonicErrors:
    """Return the errors of a newly calibrated device at some of its outputs.

    A few vectors span a space of few dimensions, and a matrix of independent Gaussians has the same
    distribution in any orthonormal basis. So the fields of these vectors are drawn as those of
    their coordinates behind a medium with one input for each vector. Their distribution is exactly
    that of the medium of full width, whose million inputs need not be drawn.

    Args:
        device: The device.
        x: A few vectors ``(n, in)``, float32 or float64.
        outputs: The number of outputs to simulate, which are independent of each other.
        seed: The seed of the medium, hot pixels and noise.
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
    """Return coordinates of rows, one per row, with the same inner products."""
    values, vectors = torch.linalg.eigh((rows @ rows.t()).double())
    found: Tensor = vectors * values.clamp(min=0).sqrt()
    return found.to(rows.dtype)
