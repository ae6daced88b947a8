"""Triangle meshes, read from .obj files and rendered along rays.

Möller and Trumbore, "Fast, minimum storage ray–triangle intersection", 1997.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks.views.scenes import shaded

GREY = (0.7, 0.7, 0.7)
"""The colour of vertices without a colour."""

LARGEST = 1e30
"""Maximum absolute value of coordinates; NaN and infinity are rejected."""
TRIANGLES = 20_000
"""Maximum number of triangles of a mesh: every ray is tested against each."""

PAIRS = 1 << 21
"""Number of ray-triangle tests in one batch."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles between vertices.

    Attributes:
        vertices: ``(vertices, 3)`` float64.
        faces: Vertex numbers of each triangle, ``(faces, 3)`` int64.
        colours: Colours of the vertices, ``(vertices, 3)`` in [0, 1].
    """

    vertices: Tensor
    faces: Tensor
    colours: Tensor

    def fitted(self, radius: float) -> "Mesh":
        """Return the mesh moved and scaled to fit exactly into a sphere about the origin."""
        used = self.vertices[self.faces.unique()]
        moved = self.vertices - (used.amin(0) + used.amax(0)) / 2
        return Mesh(
            moved * (radius / moved[self.faces].norm(dim=-1).max()), self.faces, self.colours
        )

    def seen(self, rays: Tensor) -> Tensor:
        """Return the colours ``(rays, 3)`` of rays ``(rays, 6)``, shaded by each face's normal."""
        some = max(1, PAIRS // len(self.faces))
        return torch.cat([self._seen(each) for each in rays.double().split(some)])

    def _seen(self, rays: Tensor) -> Tensor:
        origins, directions = rays.split(3, dim=1)
        depths, faces, shares = first_hits(origins, directions, self.vertices[self.faces])
        corners = self.faces[faces]  # (rays, 3)
        own = (shares[..., None] * self.colours[corners]).sum(1)
        a, b, c = self.vertices[corners].unbind(1)
        normals = torch.linalg.cross(b - a, c - a)
        normals = normals / normals.norm(dim=1, keepdim=True).clamp(min=1e-12)
        away = (normals * directions).sum(1, keepdim=True) > 0
        return shaded(depths, torch.where(away, -normals, normals), own)


def first_hits(
    origins: Tensor, directions: Tensor, triangles: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first intersections of rays with triangles, from either side.

    Args:
        origins: ``(rays, 3)``.
        directions: ``(rays, 3)``.
        triangles: Their corners, ``(triangles, 3, 3)``.

    Returns:
        Distances ``(rays,)``, infinite if a ray meets none; numbers of triangles ``(rays,)``; and
        the barycentric coordinates of the intersections, ``(rays, 3)``.
    """
    corner, first, second = triangles.unbind(1)
    first, second = first - corner, second - corner  # the two edges, (triangles, 3)
    # With edges f and s and t = origin - corner, the distance is s·(t×f) / f·(d×s), and the shares
    # of the corners at the ends of f and s are t·(d×s) and d·(t×f) over the same.
    t = origins[:, None] - corner  # (rays, triangles, 3)
    across = torch.linalg.cross(directions[:, None].expand_as(t), second.expand_as(t))
    over = torch.linalg.cross(t, first.expand_as(t))
    scale = (across * first).sum(-1)
    scale = torch.where(scale.abs() < 1e-12, torch.nan, scale)  # a ray parallel to the triangle
    u = (t * across).sum(-1) / scale
    v = (directions[:, None] * over).sum(-1) / scale
    depths = (over * second).sum(-1) / scale
    hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (depths > 0)
    depths, faces = depths.masked_fill(~hit, torch.inf).min(1)
    u, v = (each.gather(1, faces[:, None])[:, 0].nan_to_num() for each in (u, v))
    return depths, faces, torch.stack([1 - u - v, u, v], 1)


def read_obj(path: Path) -> Mesh:
    """Return the mesh in an .obj file: its vertices, with colours if they have them, and faces.

    Polygons are divided into triangles; textures, materials and normals are not read.

    Raises:
        UserError: The file cannot be read, is not a mesh, or has too many triangles.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    vertices: list[list[float]] = []
    faces: list[list[int]] = []
    for number, line in enumerate(lines, 1):
        kind, *words = line.partition("#")[0].split() or [""]
        try:
            if kind == "v":
                vertices.append(_vertex(words))
            elif kind == "f":
                faces += _triangles(words, len(vertices))
        except ValueError:
            raise UserError(
                f"{path} is not a readable .obj file: line {number} is '{line[:60]}'"
            ) from None
    if not faces:
        raise UserError(f"{path} holds no faces: it needs lines of 'v x y z' and 'f 1 2 3'")
    if len(faces) > TRIANGLES:
        raise UserError(
            f"{path} has {len(faces):,} triangles, more than {TRIANGLES:,}: simplify the mesh first"
        )
    table = torch.tensor(vertices, dtype=torch.float64)
    if table.shape[1] == 6 and not bool(((table[:, 3:] >= 0) & (table[:, 3:] <= 1)).all()):
        raise UserError(f"{path} has colours that are not between 0 and 1: divide them by 255")
    used = table[torch.tensor(faces).unique(), :3]
    if not (used.amax(0) - used.amin(0)).max() > 0:
        raise UserError(f"{path} has faces without area: all of their corners are at one place")
    return Mesh(table[:, :3], torch.tensor(faces), table[:, 3:].clamp(0, 1))


def _vertex(words: list[str]) -> list[float]:
    """Return a vertex's position and colour.

    Raises:
        ValueError: The words do not describe a vertex.
    """
    numbers = [float(word) for word in words]
    if len(numbers) < 3 or not all(abs(each) < LARGEST for each in numbers):
        raise ValueError
    return [*numbers[:3], *(numbers[3:6] if len(numbers) >= 6 else GREY)]


def _triangles(words: list[str], count: int) -> list[list[int]]:
    """Return the triangles of a face, given the number of vertices.

    Raises:
        ValueError: The words do not describe a face.
    """
    given = [int(word.partition("/")[0]) for word in words]  # from 1, or from -1 backwards
    corners = [number - 1 if number > 0 else count + number for number in given]
    if len(corners) < 3 or 0 in given or not all(0 <= each < count for each in corners):
        raise ValueError
    return [[corners[0], corners[i], corners[i + 1]] for i in range(1, len(corners) - 1)]
