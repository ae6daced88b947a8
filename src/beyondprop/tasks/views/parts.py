"""Complete views as samples: a ray for each pixel, in the order of the pixels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks.samples import Rows, Samples, Split


@dataclass(frozen=True)
class Views(Samples):
    """Rays of complete views, one view after another, row by row of its pixels.

    Attributes:
        rays: Inputs ``(views × height × width, 6)``, targets their colours ``(…, 3)`` in [0, 1].
        height: Height of a view, in pixels.
        width: Width of a view, in pixels.

    Raises:
        UserError: The number of rays is not a multiple of the pixels of a view.
    """

    rays: Split
    height: int
    width: int

    def __post_init__(self) -> None:
        if len(self.rays) % (self.height * self.width):
            raise UserError(
                f"{len(self.rays)} rays do not form complete views of {self.width} x {self.height} "
                "pixels"
            )

    @classmethod
    def of(cls, rays: Sequence[Tensor], pictures: Sequence[Tensor]) -> "Views":
        """Return the views with these rays ``(height × width, 6)`` and pictures ``(height, width,
        3)``.
        """
        height, width, _ = pictures[0].shape
        colours = torch.cat([each.reshape(-1, 3) for each in pictures])
        return cls(Split(torch.cat(list(rays)).float(), colours.float()), height, width)

    @property
    def count(self) -> int:
        """Number of views."""
        return len(self.rays) // (self.height * self.width)

    @property
    def device(self) -> torch.device:
        """Device of the rays."""
        return self.rays.device

    def __len__(self) -> int:
        return len(self.rays)

    def batch(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """Return these rays and their colours."""
        return self.rays.batch(rows)

    def some(self, rows: Tensor) -> Split:
        """Return only these rays, which no longer form complete views."""
        return self.rays.some(rows)

    def to(self, device: torch.device | str) -> "Views":
        """Return the same views, on a device."""
        return Views(self.rays.to(device), self.height, self.width)
