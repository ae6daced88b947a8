"""Data from a folder that contains a folder of images for each class."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError, install
from beyondprop.tasks.samples import Data, Split
from beyondprop.tasks.splitting import in_three

ENDINGS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that Pillow may read, whatever a file's name says; its other readers are not used."""

PIXELS = 2**26
"""Maximum number of pixels of an image; 8,192 along each side."""

PARTS = {"train": ("train",), "validation": ("val", "valid", "validation"), "test": ("test",)}
"""Folder names of the splits."""

Files = list[tuple[Path, int]]
"""Paths of images and their class numbers."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images and how to read it. Called, it returns the data.

    Attributes:
        path: Contains a folder for each class, or folders train, val and test that do.
        size: Height and width in pixels to which the images are resized.
        channels: 3 for colour, 1 for grey.
        shares: Shares of the samples for validation and test, if these have no folder.
        seed: Seed of that split.
    """

    path: Path
    size: int
    channels: int
    shares: tuple[float, float]
    seed: int

    def __call__(self, folder: Path | None) -> Data:
        """Return the data; a given folder replaces the path.

        Raises:
            UserError: There are fewer than two classes, or an image cannot be read.
        """
        path = self.path if folder is None else folder
        parts = {name: self._read(files) for name, files in self._parts(path).items()}
        mean = parts["train"][0].mean((0, 2, 3), keepdim=True)
        std = parts["train"][0].std((0, 2, 3), keepdim=True).clamp(min=1e-6)
        splits: dict[str, Any] = {
            name: Split((x - mean) / std, y) for name, (x, y) in parts.items()
        }
        return Data(path.name, **splits, classes=classes_in(path))

    def _parts(self, path: Path) -> dict[str, Files]:
        """Return the files of each split; a split without a folder is drawn from the training
        split.
        """
        classes = classes_in(path)
        found = {
            name: _files(folder, classes)
            for name in PARTS
            if (folder := part_in(path, name)) is not None
        }
        pool = found.pop("train")
        labels = torch.tensor([label for _, label in pool])
        drawn = in_three(labels, self.shares, self.seed, classes, str(path))
        rows = dict(zip(PARTS, drawn, strict=True))
        # If a split has a folder, its share stays in training.
        given = torch.cat([rows["train"], *(rows[name] for name in found)]).sort().values
        rows = rows | {"train": given}
        return {
            name: found.get(name) or [pool[row] for row in rows[name].tolist()] for name in PARTS
        }

    def _read(self, files: Files) -> tuple[Tensor, Tensor]:
        """Return images ``(n, channels, size, size)`` from 0 to 1, and their classes ``(n,)``."""
        images = torch.stack([read_image(path, self.size, self.channels) for path, _ in files])
        return images.float() / 255, torch.tensor([label for _, label in files])


def classes_in(path: Path) -> tuple[str, ...]:
    """Return the names of the classes, which are the folders in that of the training images.

    Raises:
        UserError: There is no such folder, or it has fewer than two classes.
    """
    if not path.is_dir():
        raise UserError(f"{path} is not a folder")
    folder = part_in(path, "train")
    assert folder is not None
    names = tuple(sorted(each.name for each in _inner(folder)))
    if len(names) < 2:
        held = f"one folder, {names[0]}" if names else "no folder"
        raise UserError(f"{folder} holds {held}: it needs a folder of images for each class")
    return names


def part_in(path: Path, name: str) -> Path | None:
    """Return the folder of a split; without split folders, training images are in the folder
    itself.

    Raises:
        UserError: There are folders of other splits but none of training images, or there are
            unrelated folders next to them.
    """
    inner = {each.name.lower(): each for each in _inner(path)}
    found = {
        part: inner[known[0]]
        for part, names in PARTS.items()
        if (known := [each for each in names if each in inner])
    }
    if "train" in found:
        if strange := [each.name for each in inner.values() if each not in found.values()]:
            raise UserError(
                f"{path} holds {', '.join(strange)} next to its parts: move each class into the "
                "folders of the parts, and other folders away"
            )
        return found.get(name)
    if found and len(found) == len(inner):  # else these are classes of such names
        held = " and ".join(each.name for each in inner.values())
        raise UserError(f"{path} holds {held} but no folder train: create one for training images")
    return path if name == "train" else None


def read_image(path: Path, size: int, channels: int) -> Tensor:
    """Return an image, resized, ``(channels, size, size)`` uint8.

    Raises:
        UserError: It cannot be read, or Pillow is not installed.
    """
    with opened(path) as image:
        coloured = image.convert("RGB" if channels == 3 else "L")
        resized = coloured.resize((size, size), pillow().Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized, dtype=np.uint8))
    return pixels.view(size, size, channels).permute(2, 0, 1)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an image with 8 bits per colour; any failure inside the context is reported as a problem
    of the file.

    Raises:
        UserError: It cannot be read, has a format not in `FORMATS`, or more pixels than `PIXELS` (a
            small file may have billions); or Pillow is not installed.
    """
    images = pillow()
    try:
        with images.open(path, formats=FORMATS) as found:
            if found.width * found.height > PIXELS:
                raise ValueError(f"it has more than {PIXELS:,} pixels")
            yield of_8_bits(found)
    except Exception as error:  # whatever Pillow raises on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} is not a readable image ({reason}): replace or remove it"
        ) from error


def pillow() -> Any:
    """Return Pillow's `Image` module.

    Raises:
        UserError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError(
            f"reading images needs Pillow, which is not installed: {install('data')}"
        ) from error
    return Image


def of_8_bits(image: Any) -> Any:
    """Convert a 16-bit grey image to 8 bits, and return any other image unchanged.

    Pillow's own conversion clips values: everything above 255 would be white.

    Raises:
        ValueError: It has 32 bits, for which the value of white is unknown.
    """
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError("a pixel has 32 bits, but only 8 or 16 are supported")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))


def _files(folder: Path, classes: tuple[str, ...]) -> Files:
    found: Files = []
    for each in _inner(folder):
        if each.name not in classes:
            raise UserError(
                f"{folder} holds a class {each.name} that the training images do not have: "
                f"they have {', '.join(classes)}"
            )
        images = sorted(
            p for p in each.rglob("*") if p.suffix.lower() in ENDINGS and not p.name.startswith(".")
        )
        if not images:
            raise UserError(f"{each} holds no image: remove it, or put images into it")
        found += [(image, classes.index(each.name)) for image in images]
    if not found:
        raise UserError(f"{folder} holds no folder of a class")
    return found


def _inner(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
