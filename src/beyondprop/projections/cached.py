"""Abstract projections that draw their numbers once and cache them."""

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import torch
from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.projections.base import Projection
from beyondprop.projections.checks import check
from beyondprop.projections.cost.memory import check_room

T = TypeVar("T")


@dataclass(frozen=True)
class Cached(Projection):
    """A projection that caches its drawn numbers; copies and pickles start with an empty cache."""

    _drawn: dict[Any, Any] = field(
        default_factory=dict, init=False, repr=False, compare=False, hash=False
    )

    def _cached(self, draw: Callable[..., T], *key: Any) -> T:
        """Return the value drawn for a key, from the cache if it was drawn before."""
        found: T | None = self._drawn.get(key)
        if found is None:
            with torch.inference_mode(False):  # otherwise no gradient could use the value
                found = self._drawn[key] = draw(*key)
        return found

    @property
    def counter(self) -> int:
        """The largest counter of the projections that it holds."""
        return max((each.counter for each in self._held()), default=0)

    def resume(self, counter: int) -> None:
        """Make the projections that it holds continue from a counter."""
        for each in self._held():
            each.resume(counter)

    def _held(self) -> list[Projection]:
        values = (getattr(self, f.name) for f in fields(self))
        return [value for value in values if isinstance(value, Projection)]

    def __reduce__(self) -> tuple[Any, ...]:
        # The seed determines the map, so copies and pickles hold only the seed.
        values = tuple(getattr(self, f.name) for f in fields(self) if f.init)
        return type(self), values


@dataclass(frozen=True)
class Shareable(Cached):
    """A projection with a map for each block, or one for all blocks."""

    shared: bool = False

    def stream(self, block: int) -> int:
        """Return the stream of a block: its own number, or 0 for all."""
        return 0 if self.shared else block


@dataclass(frozen=True)
class Stored(Shareable):
    """A projection that draws a matrix once for each size, stream, dtype and device."""

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return the matrix (see `Projection.matrix`); it is drawn once and then cached."""
        found: Tensor = self._stored(in_features, out_features, stream, like)
        return found

    def project(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` of shape ``(..., in_features)`` to shape ``(..., out_features)``."""
        key = x.shape[-1], out_features, stream, x.dtype, x.device
        # Looked up here, as calls would take as long as a small product. A type other than int may
        # equal a drawn width, but must still be rejected.
        matrix = self._drawn.get(key) if type(out_features) is int else None
        return self._undrawn(x, out_features, stream) if matrix is None else x @ matrix

    def _undrawn(self, x: Tensor, out_features: int, stream: int) -> Tensor:
        """Carry ``x`` if no matrix is in the cache."""
        return x @ self.matrix(x.shape[-1], out_features, stream, x)

    def _stored(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Any:
        check(like, in_features, out_features)
        widths = in_features, out_features
        return self._cached(self._draw_of, *widths, stream, like.dtype, like.device)

    # The compiler would turn NumPy's integers into tensors, which cannot shift their bits.
    @eager
    def _draw_of(
        self, inputs: int, outputs: int, stream: int, dtype: torch.dtype, device: torch.device
    ) -> Any:
        entry, place = self.drawing(device)
        needed = math.ceil(entry * inputs * outputs)
        check_room(type(self).__name__, (inputs, outputs), needed, place)
        return self._draw(inputs, outputs, stream, torch.empty(0, dtype=dtype, device=device))

    @abstractmethod
    def drawing(self, device: torch.device) -> tuple[float, torch.device]:
        """Return the bytes for drawing a float32 entry, and the device that needs them.

        Args:
            device: The device on which the matrix is used.
        """

    @abstractmethod
    def _draw(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Any:
        """Return the value to cache, with the dtype and device of ``like``."""
