"""A medium: the complex Gaussian matrix of a scattering sample, rebuilt from a seed."""

import math

import torch
from torch import Tensor

from beyondprop.optics.scattering import Scattering
from beyondprop.random.gaussian import gaussian
from beyondprop.random.streams import stream_of

DENSE = 2**22
"""Matrices of up to this many entries are cached (2 × 16 MiB in float32); others use tiles."""

TILE = 4096, 64
"""Inputs and outputs of a tile."""


class Medium:
    """One medium of given widths, with a cache of its drawn matrices."""

    def __init__(
        self,
        scattering: Scattering,
        seed: int,
        stream: int,
        inputs: int,
        outputs: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.scattering = scattering
        self.inputs, self.outputs = inputs, outputs
        self.seed, self._stream = seed, stream
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._drawn: dict[int, Tensor] = {}
        self._fields: dict[int | str, Tensor] = {}

    def carry(self, frames: Tensor, shots: float) -> Tensor:
        """Return the complex field ``(rows, out)`` behind the medium for real ``(rows, in)``."""
        mixed = self.scattering.mixture(shots)
        if self.inputs * self.outputs <= DENSE:
            # Mix products, not matrices: products are smaller, or hardly larger.
            drawn = self._matrices(mixed)  # (2, in, out) each
            products = {n: frames @ matrix for n, matrix in drawn.items()}  # (2, rows, out) each
            return torch.complex(*_mix(products, mixed))
        parts = frames.new_zeros(2, len(frames), self.outputs)
        for into in _spans(self.inputs, TILE[0]):
            for out in _spans(self.outputs, TILE[1]):
                tile = _mix({n: self._tile(into, out, n) for n in mixed}, mixed)  # (2, in, out)
                parts[:, :, out.start : out.stop] += frames[:, into.start : into.stop] @ tile
        return torch.complex(parts[0], parts[1])

    def matrix(self, shots: float | None = None) -> Tensor:
        """Return the complex matrix ``(in, out)`` after this many shots; None: as calibrated."""
        mixed = {0: 1.0} if shots is None else self.scattering.mixture(shots)
        return torch.complex(*_mix(self._matrices(mixed), mixed))

    def anchors(self, count: int, shots: float, error: float = 0.0) -> tuple[Tensor, Tensor]:
        """Return the fields of reference inputs, both calibrated and current.

        The fields are complex, ``(count, out)``, with mean power 1. A common phase at one output
        does not change the medium's distribution (Gupta et al. 2019), so all phases are relative to
        the first anchor's, whose calibrated field is real and positive.

        Args:
            count: The number of reference inputs.
            shots: The number of shots since the calibration.
            error: The relative root mean square error of the calibration.
        """
        mixed = self.scattering.mixture(shots)
        cached = {n: field for n, field in self._fields.items() if n in (*mixed, 0, "error")}
        self._fields = {n: field for n, field in cached.items() if len(field) == count}
        now = _mix({n: self._anchors(count, n) for n in mixed}, mixed)
        calibrated = self._anchors(count, 0)
        turn = _turn(calibrated)
        if error:
            # Phases are relative to the first anchor as calibrated, including its error.
            known = calibrated + error * self._anchors(count, "error")
            return known * _turn(known), now * turn
        return calibrated * turn, now * turn

    def _anchors(self, count: int, number: int | str) -> Tensor:
        if number in self._fields:
            return self._fields[number]
        key = _key("anchors", self._stream, number, count)
        drawn = torch.from_numpy(gaussian(self.seed, key, self.outputs * count * 2))
        parts = drawn.view(self.outputs, count, 2).permute(2, 1, 0) / math.sqrt(
            2
        )  # (2, count, out)
        real, imaginary = parts.to(self._like)
        self._fields[number] = torch.complex(real, imaginary)
        return self._fields[number]

    def _matrices(self, mixed: dict[int, float]) -> dict[int, Tensor]:
        """Return the matrices of a mixture, from the cache if they were drawn before."""
        self._drawn = {n: self._drawn[n] if n in self._drawn else self._draw(n) for n in mixed}
        return self._drawn

    def _draw(self, number: int) -> Tensor:
        drawn = self._like.new_empty(2, self.inputs, self.outputs)
        for into in _spans(self.inputs, TILE[0]):
            for out in _spans(self.outputs, TILE[1]):
                tile = self._tile(into, out, number)
                drawn[:, into.start : into.stop, out.start : out.stop] = tile
        return drawn

    def _tile(self, into: range, out: range, number: int) -> Tensor:
        """Return real and imaginary parts of a tile, ``(2, inputs, outputs)``."""
        key = _key("medium", self._stream, number, into.start, out.start)
        drawn = torch.from_numpy(gaussian(self.seed, key, len(out) * 2 * len(into)))
        # Drawn output by output, so that a narrower block's matrix is a slice of a wider one's.
        parts = drawn.view(len(out), 2, len(into)).permute(1, 2, 0)
        return parts.mul(self.outputs**-0.5).to(self._like)


def _turn(anchors: Tensor) -> Tensor:
    """Return the phase factor that makes the first anchor real and positive."""
    return (anchors[0] / anchors[0].abs()).conj()


def _mix(drawn: dict[int, Tensor], weights: dict[int, float]) -> Tensor:
    if weights == {0: 1.0}:
        return drawn[0]
    return torch.stack([weight * drawn[n] for n, weight in weights.items()]).sum(0)


def _spans(count: int, size: int) -> list[range]:
    return [range(i, min(i + size, count)) for i in range(0, count, size)]


def _key(*names: str | int) -> int:
    """Return the number of the random stream with these names."""
    return stream_of(", ".join(map(str, names)))
