"""View synthesis tasks: a scene that the task renders itself, a mesh, photos."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import mse_loss

from beyondprop.errors import UserError
from beyondprop.models.nerf import BLOCKS, OUTPUT, RadianceField
from beyondprop.tasks.base import Task, known_fields, name_of
from beyondprop.tasks.metrics import psnr
from beyondprop.tasks.samples import Data
from beyondprop.tasks.views.cameras import Camera, half_sphere
from beyondprop.tasks.views.meshes import read_obj
from beyondprop.tasks.views.parts import Views
from beyondprop.tasks.views.scenes import SCENE, colours
from beyondprop.tasks.views.transforms import Transforms, parts

SIZE = 64
"""Height and width in pixels of a view that a task renders."""

CAMERAS = (24, 0.0), (2, 0.37), (8, 0.61)
"""For training, validation and test: the number of views that a task renders, and the rotation of
their cameras about the scene as a share of a full turn, so that no two are the same.
"""

DISTANCE, ANGLE = 4.0, 0.69
"""Distance of the cameras from the centre of the scene; their field of view, in radians."""

RADIUS = 1.2
"""Radius of the sphere that meshes are fitted into."""

NEAR, FAR = 2.5, 5.5
"""Distances from these cameras at which a scene begins and ends."""


def load_scene(folder: Path | None = None) -> Data:
    """Return views of spheres and boxes on a board; see `views_of`.

    Args:
        folder: Not used: the scene is part of the package.
    """
    del folder
    return views_of("an analytic scene", partial(colours, SCENE))


@dataclass(frozen=True)
class MeshViews:
    """Views of a mesh. Called, it returns the data.

    Attributes:
        path: The .obj file.
        size: Height and width of a view in pixels.
    """

    path: Path
    size: int = SIZE

    def __call__(self, folder: Path | None) -> Data:
        """Return the data; a given folder is searched for the file instead of its own.

        Raises:
            UserError: The mesh cannot be read.
        """
        path = self.path if folder is None else folder / self.path.name
        return views_of(path.stem, read_obj(path).fitted(RADIUS).seen, self.size)


def views_of(name: str, seen: Callable[[Tensor], Tensor], size: int = SIZE) -> Data:
    """Return views from cameras on the upper half of a sphere, different ones in each split.

    Args:
        name: Name of the scene.
        seen: Rays ``(rays, 6)`` to their colours ``(rays, 3)``.
        size: Height and width of a view in pixels.
    """
    camera = Camera.simple(size, size, ANGLE)

    def part(count: int, turn: float) -> Views:
        rays = [camera.rays(pose) for pose in half_sphere(count, DISTANCE, turn)]
        return Views.of(rays, [seen(each).view(size, size, 3) for each in rays])

    train, validation, test = (part(*each) for each in CAMERAS)
    return Data(name, train, validation, test)


@dataclass(frozen=True)
class FieldBetween:
    """Radiance fields of one size. Called, it returns a new one.

    Attributes:
        near: Distance from the cameras at which the scene begins.
        far: Distance at which it ends.
        arguments: Further arguments of `RadianceField`.

    Raises:
        UserError: `RadianceField` has no such argument.
    """

    near: float
    far: float
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        known = list(signature(RadianceField).parameters)
        given = self.arguments
        unknown = sorted({*given} - {*known}) if isinstance(given, Mapping) else [given]
        if unknown:
            raise UserError(
                f"the network of views takes {', '.join(known[2:])}, not {unknown[0]!r}: write "
                "network: {width: 64, depth: 3}"
            )

    def __call__(self) -> RadianceField:
        """Return a network with new weights."""
        return RadianceField(self.near, self.far, **self.arguments)


def view_synthesis(
    load: Callable[[Path | None], Data],
    near: float,
    far: float,
    network: Mapping[str, Any] | None,
    **fields: Any,
) -> Task:
    """Return a task of the views that ``load`` returns, with a `RadianceField`.

    Args:
        load: Returns the data: rays ``(n, 6)`` and colours ``(n, 3)``.
        near: Distance from the cameras at which the scene begins.
        far: Distance at which it ends.
        network: Arguments of `RadianceField`: ``depth``, ``width``, ``coarse``, ``fine``, ...
        fields: Fields of the task: ``name`` and ``summary``, and others that replace its defaults.
    """
    own: dict[str, Any] = {
        "load": load,
        "model": FieldBetween(near, far, network or {}),
        "loss": mse_loss,
        "metric": psnr,
        "metric_name": "PSNR (dB)",
        "blocks": BLOCKS,
        "output": OUTPUT,
        "axes": "batch tokens features",
        "epochs": 4,
        "batch_size": 128,
        "learning_rate": 2e-3,
    }
    return Task(**own | known_fields(fields))


def from_mesh(
    path: Path | str, size: int = SIZE, network: Mapping[str, Any] | None = None, **fields: Any
) -> Task:
    """Return a task of views of a mesh, which it renders itself.

    Args:
        path: An .obj file; its vertices may have colours.
        size: Height and width of a view in pixels.
        network: Arguments of `RadianceField`: ``depth``, ``width``, ``coarse``, ``fine``, ...
        fields: Fields of the task that replace its defaults: ``epochs``, ``batch_size``, ...

    Raises:
        UserError: The mesh cannot be read.
    """
    path = Path(path)
    if not isinstance(size, int) or size < 1:
        raise UserError(f"size must be a whole number > 0 of pixels, not {size!r}")
    read_obj(path)
    named = {
        "name": name_of(path),
        "summary": f"views of the mesh {path.name} at {size} x {size} pixels, a radiance field",
    }
    return view_synthesis(MeshViews(path, size), NEAR, FAR, network, **named | fields)


def from_transforms(
    path: Path | str,
    shrink: int = 1,
    views: int | None = None,
    near: float = 2.0,
    far: float = 6.0,
    network: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Task:
    """Return a task of photos with known cameras: a folder with `transforms.json`.

    Args:
        path: The folder. If it contains transforms_train.json, transforms_val.json and
            transforms_test.json, these are the splits; with a single transforms.json, every eighth
            frame is for the test.
        shrink: Factor by which photos are reduced along both sides.
        views: Maximum number of photos of each split; None for all.
        near: Distance from the cameras at which the scene begins, in the unit of the poses.
        far: Distance at which it ends.
        network: Arguments of `RadianceField`: ``depth``, ``width``, ``coarse``, ``fine``, ...
        fields: Fields of the task that replace its defaults: ``epochs``, ``batch_size``, ...

    Raises:
        UserError: There are no such files.
    """
    load = Transforms(Path(path), shrink, views)
    parts(load.path)
    name = load.path.resolve().name
    named = {
        "name": name_of(load.path.resolve()),
        "summary": f"photos of {name} with known cameras, a radiance field",
    }
    return view_synthesis(load, near, far, network, **named | fields)


VIEWS_SCENE = view_synthesis(
    load_scene,
    NEAR,
    FAR,
    {"coarse": 16, "fine": 16},  # twice as many would double the time of a run
    name="views-scene",
    summary="views of spheres and boxes (rendered by the task), a radiance field of 4 x 128",
)
