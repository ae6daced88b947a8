"""Light in a scattering medium, and the drift of the medium."""

import math
from dataclasses import dataclass

from beyondprop.registry import check_fields
from beyondprop.registry.limits import NotNegative, Positive, Share

MEMORY = 12
"""Lifetimes after which an earlier state of the medium is dropped, when e⁻¹² of it remains."""


@dataclass(frozen=True)
class Scattering:
    """Propagation through a multiply scattering medium: ``y = x T``.

    The entries of ``T`` are independent circular complex Gaussians (Popoff et al. 2010) with
    ``E|T|² = 2 / out``, so that its real part keeps norms on average. Every entry is a function of
    the seed and the stream.

    Args:
        lifetime: Shots after which the medium's correlation with its calibrated state has fallen to
            1/e (heat, creep); None for a medium that never changes. The entries follow a complex
            Ornstein-Uhlenbeck process, ``T(t) = ρ T(0) + sqrt(1 - ρ²) T'``, ``ρ = exp(-t /
            lifetime)``. The medium does not change during a batch. The correlation with the
            calibrated matrix is exact at all times; within a lifetime the path is smoother than
            that of the process.
        age: Shots between calibration and the first shot.
        instability: Share of the light's power, 0 to 1, that takes another path in each shot
            (vibration, air); the rest interferes normally. 0 for none.
    """

    lifetime: Positive | None = None
    age: NotNegative = 0.0
    instability: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def correlation(self, shots: float) -> float:
        """Return ρ, the correlation with the calibrated matrix after this many shots."""
        return 1.0 if self.lifetime is None else math.exp(-(self.age + shots) / self.lifetime)

    def mixture(self, shots: float) -> dict[int, float]:
        """Return the weights of the independent matrices whose sum is the current one.

        Matrix 0 is the calibrated one, and another one is added during each lifetime.
        """
        if self.lifetime is None:
            return {0: 1.0}
        passed = (self.age + shots) / self.lifetime
        epoch = math.floor(passed)
        fresh = math.sqrt(1 - math.exp(-2))
        mixed = {
            number: math.exp(number - passed) * (fresh if number else 1.0)
            for number in range(max(0, epoch - MEMORY), epoch + 1)
        }
        if passed > epoch:
            mixed[epoch + 1] = math.sqrt(1 - math.exp(-2 * (passed - epoch)))
        return mixed
