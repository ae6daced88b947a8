"""Photos with known cameras, in the layout of `transforms.json`.

A file lists frames, each with a picture and the pose of its camera, and describes the camera: by
`camera_angle_x`, or by `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h` and the lens's `k1`, `k2`, `p1`, `p2`,
for all frames or in each. NeRF's rendered scenes, instant-ngp and nerfstudio use this layout, and
COLMAP's results can be converted to it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks.folders import opened
from beyondprop.tasks.samples import Data
from beyondprop.tasks.views.cameras import Camera
from beyondprop.tasks.views.parts import Views

PARTS = {"train": "train", "validation": "val", "test": "test"}
"""File name suffixes of the splits."""

EVERY = 8
"""If one file contains all frames, every eighth is for the test, and those halfway between them are
for validation.
"""

TINY, SKEW = 1e-12, 1e-2
"""Minimum length of a column, and maximum deviation of a pose from a rotation, due to rounding."""
OTHER_LENSES = ("k3", "k4", "k5", "k6")
LENSES = ("", "OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
"""Supported camera models; others define distortion differently."""

Frame = Mapping[str, Any]


@dataclass(frozen=True)
class Transforms:
    """A folder of photos with known cameras. Called, it returns the data.

    Attributes:
        path: Contains transforms_train.json and optionally transforms_val.json and
            transforms_test.json, or only transforms.json.
        shrink: Factor by which photos are reduced along both sides.
        views: Maximum number of photos of each split, evenly spread; None for all.
    """

    path: Path
    shrink: int = 1
    views: int | None = None

    def __post_init__(self) -> None:
        for name in ("shrink", "views"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UserError(f"{name} must be a whole number of at least 1, not {value!r}")

    def __call__(self, folder: Path | None) -> Data:
        """Return the data; a given folder replaces the path.

        Raises:
            UserError: There are no such files, or a photo or a camera cannot be read.
        """
        path = self.path if folder is None else folder
        train, validation, test = (self._views(path, parts(path)[name]) for name in PARTS)
        return Data(path.resolve().name, train, validation, test)

    def _views(self, path: Path, frames: Sequence[Frame]) -> Views:
        if self.views is not None and self.views < len(frames):
            frames = [frames[i * len(frames) // self.views] for i in range(self.views)]
        rays: list[Tensor] = []
        pictures: list[Tensor] = []
        for frame in frames:
            file = photo(path, frame)
            picture = read_photo(file)  # (height, width, 3)
            small = shrunk(picture, self.shrink, file)
            if pictures and small.shape != pictures[0].shape:
                (h, w, _), (height, width, _) = small.shape, pictures[0].shape
                raise UserError(
                    f"{file} has {w} x {h} pixels, others {width} x {height}: give all one size"
                )
            pictures.append(small)
            rays.append(camera_of(frame, file, picture).shrunk(self.shrink).rays(pose(frame, file)))
        return Views.of(rays, pictures)


def parts(path: Path) -> dict[str, Sequence[Frame]]:
    """Return the frames of each split; a split without its own file is taken from the others.

    Raises:
        UserError: There are no files, or not enough frames.
    """
    whole = path / "transforms.json"
    files = {name: path / f"transforms_{short}.json" for name, short in PARTS.items()}
    if not files["train"].is_file() and not whole.is_file():
        raise UserError(
            f"{path} holds no transforms_train.json or transforms.json: name a folder that does"
        )
    if not files["train"].is_file():
        files = {"train": whole}
    found: dict[str, Sequence[Frame]] = {
        name: read_frames(file) for name, file in files.items() if file.is_file()
    }
    pool = found["train"]
    for name, first in (("test", 0), ("validation", EVERY // 2)):
        if name not in found:
            found[name] = pool[first::EVERY]
            found["train"] = [each for each in found["train"] if each not in found[name]]
    if not all(found.values()):
        raise UserError(
            f"{path} has {len(pool)} frames, too few to hold some out: at least 5 are needed"
        )
    return found


def read_frames(file: Path) -> list[Frame]:
    """Return the frames of a file, each merged with the values for all frames.

    Raises:
        UserError: The file cannot be read, or a frame lacks its picture or its pose.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        common = {key: value for key, value in content.items() if key != "frames"}
        frames = [common | frame for frame in content["frames"]]
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a transforms.json: it needs 'frames', a list of mappings"
        ) from error
    for number, frame in enumerate(frames):
        lacks = [key for key in ("file_path", "transform_matrix") if key not in frame]
        if lacks:
            raise UserError(f"{file}: frame {number} lacks '{lacks[0]}'")
    return frames


def photo(path: Path, frame: Frame) -> Path:
    """Return the path of a frame's picture; without a suffix it is a .png.

    Raises:
        UserError: There is no such file.
    """
    named = path / str(frame["file_path"])
    for each in (named, named.with_name(f"{named.name}.png")):
        if each.is_file():
            return each
    raise UserError(f"{named}, which transforms.json names, does not exist")


def read_photo(file: Path) -> Tensor:
    """Return a photo over white, ``(height, width, 3)`` in [0, 1].

    Raises:
        UserError: It cannot be read.
    """
    with opened(file) as image:
        pixels = np.array(image.convert("RGBA"), dtype=np.float32)
    colours, alpha = torch.from_numpy(pixels / 255).split((3, 1), dim=2)
    over_white: Tensor = colours * alpha + (1 - alpha)
    return over_white


def shrunk(picture: Tensor, factor: int, file: Path) -> Tensor:
    """Return a picture that is smaller by a factor, each pixel the mean of those that it covers.

    Remaining pixels at the right and at the bottom are cut off.

    Raises:
        UserError: The picture has too few pixels.
    """
    height, width = picture.shape[0] // factor, picture.shape[1] // factor
    if not (height and width):
        raise UserError(f"{file} has fewer than {factor} pixels along a side: shrink it less")
    whole = picture[: height * factor, : width * factor]
    return whole.view(height, factor, width, factor, 3).mean((1, 3))


def pose(frame: Frame, file: Path) -> Tensor:
    """Return a frame's pose ``(4, 4)``, or its first three rows.

    Raises:
        UserError: It is not a pose.
    """
    try:
        found = torch.tensor(frame["transform_matrix"], dtype=torch.float64)
    except (TypeError, ValueError):
        found = torch.empty(0)
    if found.shape not in ((4, 4), (3, 4)) or not found.isfinite().all():
        raise UserError(f"the pose of {file} is not a matrix of 4 x 4 numbers")
    turn = found[:3, :3]
    scale = torch.linalg.vector_norm(turn, dim=0)
    turned = turn / scale.clamp(min=TINY)
    if not torch.allclose(turned.T @ turned, torch.eye(3, dtype=torch.float64), atol=SKEW) or (
        len(found) == 4 and not torch.allclose(found[3], found.new_tensor([0, 0, 0, 1]), atol=SKEW)
    ):
        raise UserError(
            f"the pose of {file} is not a rotation and a translation: its first three columns must "
            "be at right angles, and its last row 0 0 0 1 (is it transposed?)"
        )
    return found


def camera_of(frame: Frame, file: Path, picture: Tensor) -> Camera:
    """Return the camera of a frame, given its photo.

    Raises:
        UserError: It cannot be read, or its kind is not supported.
    """
    height, width, _ = picture.shape
    try:
        return camera(frame, height, width)
    except KeyError as error:
        raise UserError(f"the camera of {file} cannot be read: it lacks {error}") from error
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(
            f"the camera of {file} cannot be read: it contains a value that is not a number "
            f"({error})"
        ) from error


def camera(frame: Frame, height: int, width: int) -> Camera:
    """Return the camera of a frame, given the size of its photo.

    Raises:
        KeyError: There is neither an angle nor a focal length.
        TypeError: A value is not a number.
        ValueError: A value is not a number.
        UserError: The kind of the lens is not supported, or a number is out of range.
    """
    lens = str(frame.get("camera_model") or "")
    if lens not in LENSES or frame.get("is_fisheye"):
        raise UserError(
            f"cameras of the kind {lens or 'fisheye'} are not supported: undistort the photos first"
        )
    across = float(frame.get("w", width)), float(frame.get("h", height))
    if min(across) <= 0 or abs(across[0] * height - across[1] * width) > max(across):
        raise UserError(
            f"a photo of {width} x {height} pixels is not a scaled version of {across[0]:g} x "
            f"{across[1]:g}, as w and h say: are they swapped?"
        )
    scale = width / across[0], height / across[1]  # photos may be smaller than stated in the file
    if "fl_x" in frame:
        focal = float(frame["fl_x"])
    else:
        angle = float(frame["camera_angle_x"])
        if not 0 < angle < math.pi:
            raise UserError(
                f"camera_angle_x is in radians, between 0 and {math.pi:.4g}, not {angle:g}"
            )
        focal = across[0] / 2 / math.tan(angle / 2)
    upright = float(frame.get("fl_y", focal))
    if not all(0 < each < math.inf for each in (focal, upright)):
        raise UserError(f"focal lengths must be above 0 pixels, not {focal:g} and {upright:g}")
    centre = float(frame.get("cx", across[0] / 2)), float(frame.get("cy", across[1] / 2))
    if other := [key for key in OTHER_LENSES if float(frame.get(key, 0.0))]:
        raise UserError(
            f"the lens has {' and '.join(other)}, which are not supported; k1, k2, p1 and p2 are: "
            "undistort the photos first"
        )
    k1, k2, p1, p2 = (float(frame.get(key, 0.0)) for key in ("k1", "k2", "p1", "p2"))
    return Camera(
        height,
        width,
        (focal * scale[0], upright * scale[1]),
        (centre[0] * scale[0], centre[1] * scale[1]),
        (k1, k2, p1, p2),
    )
