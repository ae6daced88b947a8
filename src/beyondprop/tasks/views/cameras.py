"""Cameras: the ray of each pixel, and the positions of cameras around a scene.

A pose contains the camera's axes and position in the scene, ``(4, 4)``, as in `transforms.json`
files: x to the right, y up, and the camera looks along negative z.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from beyondprop.errors import UserError

STEPS = 50
"""Iterations for undoing a lens's distortion; if they converge, 20 are enough."""

SMALL = 1e-6
"""Maximum residual, as a share of the focal length, of a converged iteration."""


@dataclass(frozen=True)
class Camera:
    """The mapping from directions to pixels; lengths are in pixels.

    Attributes:
        height: Height of the pictures.
        width: Width of the pictures.
        focal: The focal length along x and along y.
        centre: Intersection of the optical axis with the picture, from its upper left corner.
        distortion: Distortion of the lens, k1, k2, p1 and p2 as OpenCV defines them.
    """

    height: int
    width: int
    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @classmethod
    def simple(cls, height: int, width: int, angle: float) -> "Camera":
        """Return the camera without distortion whose horizontal field of view is this angle, in
        radians.
        """
        focal = width / 2 / math.tan(angle / 2)
        return cls(height, width, (focal, focal), (width / 2, height / 2))

    def shrunk(self, factor: int) -> "Camera":
        """Return the camera whose pixels are larger by a factor."""
        return Camera(
            self.height // factor,
            self.width // factor,
            (self.focal[0] / factor, self.focal[1] / factor),
            (self.centre[0] / factor, self.centre[1] / factor),
            self.distortion,
        )

    def rays(self, pose: Tensor) -> Tensor:
        """Return the ray through the centre of each pixel, row by row.

        Args:
            pose: Pose of the camera, ``(4, 4)``.

        Returns:
            Origins and unit directions, ``(height × width, 6)`` float64.

        Raises:
            UserError: The distortion cannot be undone.
        """
        pose = pose.double()
        rows = torch.arange(self.height, dtype=torch.float64) + 0.5
        columns = torch.arange(self.width, dtype=torch.float64) + 0.5
        y, x = torch.meshgrid(rows, columns, indexing="ij")  # (height, width)
        x, y = (x - self.centre[0]) / self.focal[0], (y - self.centre[1]) / self.focal[1]
        if any(self.distortion):
            x, y = undistorted(x, y, self.distortion)
        seen = torch.stack([x, -y, -torch.ones_like(x)], -1).view(-1, 3)  # pictures have y down
        directions = seen @ pose[:3, :3].T
        directions = directions / directions.norm(dim=1, keepdim=True)
        return torch.cat([pose[:3, 3].expand_as(directions), directions], 1)


def distorted(
    x: Tensor, y: Tensor, distortion: tuple[float, float, float, float]
) -> tuple[Tensor, Tensor]:
    """Return the distorted position of a point in the picture, in units of the focal length."""
    k1, k2, p1, p2 = distortion
    square = x * x + y * y
    radial = 1 + k1 * square + k2 * square * square
    return (
        x * radial + 2 * p1 * x * y + p2 * (square + 2 * x * x),
        y * radial + p1 * (square + 2 * y * y) + 2 * p2 * x * y,
    )


def undistorted(
    x: Tensor, y: Tensor, distortion: tuple[float, float, float, float]
) -> tuple[Tensor, Tensor]:
    """Return the undistorted positions of points, by fixed-point iteration.

    Raises:
        UserError: It does not converge, because the lens folds the picture over.
    """
    u, v = x, y
    for _ in range(STEPS):
        a, b = distorted(u, v, distortion)
        u, v = u + (x - a), v + (y - b)
    a, b = distorted(u, v, distortion)
    if not torch.hypot(a - x, b - y).max() < SMALL:
        k1, k2, p1, p2 = distortion
        raise UserError(
            f"the lens's distortion (k1 {k1}, k2 {k2}, p1 {p1}, p2 {p2}) cannot be undone at the "
            "picture's edge: undistort the photos first, or leave the coefficients out"
        )
    return u, v


def looking_at_centre(position: Tensor) -> Tensor:
    """Return the pose ``(4, 4)`` of a camera at a position, directed at the origin, z up."""
    position = position.double()
    back = position / position.norm()
    right = torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64), back)
    right = right / right.norm()
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3] = torch.stack([right, torch.linalg.cross(back, right), back, position], 1)
    return pose


def half_sphere(count: int, radius: float, turn: float = 0.0) -> list[Tensor]:
    """Return evenly spread poses on the upper half of a sphere, directed at its centre.

    Args:
        count: Number of poses.
        radius: Radius of the sphere.
        turn: Rotation of all poses about the vertical, as a share of a full turn.
    """
    low, high = math.sin(math.radians(10)), math.sin(math.radians(70))
    golden = (3 - math.sqrt(5)) / 2  # of a full turn, between successive poses
    poses = []
    for i in range(count):
        height = low + (high - low) * (i + 0.5) / count
        angle, across = 2 * math.pi * (turn + golden * i), math.sqrt(1 - height**2)
        place = (across * math.cos(angle), across * math.sin(angle), height)
        poses.append(looking_at_centre(radius * torch.tensor(place, dtype=torch.float64)))
    return poses
