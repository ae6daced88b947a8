"""The interface of projections: fixed random linear maps between two widths."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from beyondprop.projections.checks import seed_of
from beyondprop.registry import check_fields, settings


@dataclass(frozen=True)
class Projection(ABC):
    """A fixed random linear map to any width, rebuilt from a seed and never learned.

    A projection handles only tensors, never modules. It keeps norms on average: the expectation of
    ``|P x|² / |x|²`` is 1 for any two widths.

    Args:
        seed: Whole number below 2^64 that, with the stream, determines every entry.
    """

    name: ClassVar[str]
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", seed_of(self.seed))
        check_fields(self)

    @abstractmethod
    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the map as a matrix.

        Args:
            in_features: Width of the input.
            out_features: Width of the output.
            stream: The number of one of the seed's independent maps; any whole number ≥ 0.
            like: A tensor with the device and the floating dtype to return.

        Returns:
            The matrix, ``(in_features, out_features)``, with standard deviation ``out_features **
            -0.5``.
        """

    def stream(self, block: int) -> int:
        """Return the stream of a block, given the block's own number; blocks may share one."""
        return block

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        return x @ self.matrix(x.shape[-1], out_features, stream, x)

    def settings(self) -> dict[str, Any]:
        """Return the settings that build the same projection again, as JSON values."""
        return settings(self)

    def remarks(self) -> Iterator[str]:
        """Yield remarks for the user about its use so far."""
        yield from ()

    @property
    def counter(self) -> int:
        """The number of draws or shots of a projection that changes with use; 0 for others."""
        return 0

    def resume(self, counter: int) -> None:  # noqa: B027  most never change
        """Continue from a counter; nothing to do for a projection that never changes."""
