"""What light does in a scattering medium, and how the medium drifts."""

import math
from dataclasses import dataclass

from beyondprop.registry import check_fields
from beyondprop.registry.limits import NotNegative, Positive, Share

MEMORY = 12
"""Lifetimes after which what the medium was is forgotten: e⁻¹² of it is left."""


@dataclass(frozen=True)
class Scattering:
    """What happens in a multiply scattering medium: ``y = x T``.

    The entries of ``T`` are independent circular complex Gaussians (Popoff et al. 2010) with
    ``E|T|² = 2 / out``, so that its real part keeps norms on average. Every entry is a function of
    the seed and the stream.

    Args:
        lifetime: Shots after which the medium's correlation with what it was at calibration has
            fallen to 1/e (heat, creep); None: it never changes. The entries follow a complex
            Ornstein-Uhlenbeck process, ``T(t) = ρ T(0) + sqrt(1 - ρ²) T'``, ``ρ = exp(-t /
            lifetime)``. It stands still during a batch. The correlation with the calibrated
            matrix is exact at all times; within a lifetime the way is smoother than the process's.
        age: Shots that had passed since calibration when the first one of ours is taken.
        instability: Share of the light's power, 0 to 1, that goes another way in each shot
            (vibration, air); what is left interferes as it should. 0: none.
    """

    lifetime: Positive | None = None
    age: NotNegative = 0.0
    instability: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self)

    def correlation(self, shots: float) -> float:
        """Return ρ, the correlation with the calibrated matrix after so many shots."""
        return 1.0 if self.lifetime is None else math.exp(-(self.age + shots) / self.lifetime)

    def mixture(self, shots: float) -> dict[int, float]:
        """Return of which independent matrices the present one is the sum, and by what weights.

        Matrix 0 is the calibrated one, and one more comes in during each lifetime.
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
