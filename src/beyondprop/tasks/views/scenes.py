"""Analytic scenes: spheres and boxes in one light, rendered along rays.

The picture of a scene is exact: a ray has the colour of the first surface that it meets, shaded by
Lambert's law, or white.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Colour = tuple[float, float, float]
Point = tuple[float, float, float]

LIGHT = (0.4, -0.5, 0.77)
"""The direction towards the light."""

AMBIENT = 0.35
"""The share of ambient light."""


@dataclass(frozen=True)
class Surface:
    """The intersections of rays with a surface.

    Attributes:
        depths: Distances, ``(rays,)``; infinite if a ray misses the surface.
        normals: Unit normals, ``(rays, 3)``.
        colours: Colours in full light, ``(rays, 3)`` in [0, 1].
    """

    depths: Tensor
    normals: Tensor
    colours: Tensor


class Shape(ABC):
    """A body whose surface can be intersected by rays."""

    @abstractmethod
    def surface(self, origins: Tensor, directions: Tensor) -> Surface:
        """Return the first intersections of rays from outside."""


@dataclass(frozen=True)
class Checks:
    """A three-dimensional checkerboard of cubes; a single colour if both are the same.

    Attributes:
        first: One colour.
        second: The other.
        side: Side of a cube.
    """

    first: Colour
    second: Colour
    side: float = 0.4

    def at(self, points: Tensor) -> Tensor:
        """Return the colours of points ``(rays, 3)``."""
        # Moved by a part of a cube, as surfaces are at round numbers.
        odd = (points / self.side + 0.31).floor().sum(1, keepdim=True) % 2 == 1
        return torch.where(odd, points.new_tensor(self.second), points.new_tensor(self.first))


@dataclass(frozen=True)
class Sphere(Shape):
    """A sphere."""

    centre: Point
    radius: float
    checks: Checks

    def surface(self, origins: Tensor, directions: Tensor) -> Surface:
        """Return the first intersections of rays from outside."""
        away = origins - origins.new_tensor(self.centre)
        along = (away * directions).sum(1)
        root = along.square() - away.square().sum(1) + self.radius**2
        depths = -along - root.clamp(min=0).sqrt()
        depths = depths.masked_fill((root <= 0) | (depths <= 0), torch.inf)
        points = _at(origins, directions, depths)
        normals = (points - origins.new_tensor(self.centre)) / self.radius
        return Surface(depths, normals, self.checks.at(points))


@dataclass(frozen=True)
class Box(Shape):
    """A box along the axes, defined by two of its corners."""

    low: Point
    high: Point
    checks: Checks

    def surface(self, origins: Tensor, directions: Tensor) -> Surface:
        """Return the first intersections of rays from outside."""
        slopes = torch.where(directions.abs() < 1e-12, 1e-12, directions)
        first, second = (
            (origins.new_tensor(each) - origins) / slopes for each in (self.low, self.high)
        )
        enters, side = torch.minimum(first, second).max(1)
        leaves = torch.maximum(first, second).amin(1)
        depths = enters.masked_fill((enters >= leaves) | (enters <= 0), torch.inf)
        faces = torch.zeros_like(origins).scatter(1, side[:, None], 1.0)
        return Surface(
            depths, -faces * directions.sign(), self.checks.at(_at(origins, directions, depths))
        )


SCENE: Sequence[Shape] = (
    Box((-1.0, -1.0, -0.6), (1.0, 1.0, -0.5), Checks((0.93, 0.9, 0.82), (0.3, 0.32, 0.4), 0.5)),
    Sphere((-0.35, 0.3, 0.0), 0.5, Checks((0.85, 0.22, 0.18), (0.85, 0.22, 0.18))),
    Sphere((0.55, 0.55, -0.25), 0.25, Checks((0.95, 0.75, 0.2), (0.95, 0.75, 0.2))),
    Box((0.15, -0.75, -0.5), (0.7, -0.2, 0.35), Checks((0.2, 0.45, 0.8), (0.8, 0.88, 0.95), 0.3)),
    Box((-0.75, -0.7, -0.5), (-0.3, -0.3, -0.15), Checks((0.2, 0.6, 0.35), (0.2, 0.6, 0.35))),
)
"""Two spheres and two boxes on a checkerboard."""


def colours(shapes: Sequence[Shape], rays: Tensor) -> Tensor:
    """Return the colours ``(rays, 3)`` of rays ``(rays, 6)`` through a scene."""
    origins, directions = rays.split(3, dim=1)
    found = [shape.surface(origins, directions) for shape in shapes]
    depths, nearest = torch.stack([each.depths for each in found]).min(0)
    rows = torch.arange(len(rays), device=rays.device)
    normals = torch.stack([each.normals for each in found])[nearest, rows]
    own = torch.stack([each.colours for each in found])[nearest, rows]
    return shaded(depths, normals, own)


def shaded(depths: Tensor, normals: Tensor, own: Tensor) -> Tensor:
    """Return the shaded colours of a surface, ``(rays, 3)``; white if a ray meets nothing."""
    light = normals.new_tensor(LIGHT)
    facing = (normals @ (light / light.norm())).clamp(min=0)
    lit = own * (AMBIENT + (1 - AMBIENT) * facing)[:, None]
    return torch.where(depths.isfinite()[:, None], lit, 1.0)


def _at(origins: Tensor, directions: Tensor, depths: Tensor) -> Tensor:
    """Return points along rays; an arbitrary point if a ray meets nothing."""
    return origins + depths.nan_to_num(posinf=0.0)[:, None] * directions
