"""Many small JPEG images in one NumPy file.

The file is an .npz with `bytes` (uint8, all JPEG files in sequence), `offsets` (the n + 1 positions
where they begin, the last one being the end) and `labels` (n,).
"""

from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from beyondprop.errors import UserError, install
from beyondprop.tasks import files

FIELDS = ("bytes", "offsets", "labels")
SMALLEST = 100
"""Minimum bytes of a JPEG file, which limits the number of images to decode."""


def read(path: Path, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]:
    """Return images (n, 3, height, width), decoded, and their labels (n,).

    Args:
        path: The file.
        size: Height and width that every image must have.

    Raises:
        UserError: Pillow is not installed, or the file cannot be read, is damaged or differs from
            the description above.
    """
    decode = _decoder()
    content, offsets, labels = _fields(path)
    images = np.empty((len(labels), 3, *size), np.uint8)
    for number, (start, end) in enumerate(pairwise(offsets)):
        try:
            image = decode(content[start:end].tobytes(), size)
        except Exception as error:  # Pillow raises whatever its decoders do
            reason = " ".join(str(error).split())
            raise UserError(f"image {number} of {path} is damaged ({reason})") from error
        images[number] = image.transpose(2, 0, 1)
    return images, labels


def _fields(path: Path) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[Any]]:
    content, offsets, labels = files.arrays(path, FIELDS, "images")
    if content.dtype != np.uint8 or any(field.ndim != 1 for field in (content, offsets, labels)):
        raise UserError(f"{path} does not hold images: bytes must be (n,) uint8")
    if offsets.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise UserError(f"{path} does not hold images: offsets and labels must be whole numbers")
    if len(offsets) != len(labels) + 1:
        raise UserError(f"{path} has {len(offsets)} offsets for {len(labels)} labels, not one more")
    ends = offsets.astype(np.int64)
    if ends[0] != 0 or ends[-1] != len(content) or (np.diff(ends) < SMALLEST).any():
        raise UserError(f"{path}: its offsets do not divide its {len(content):,} bytes")
    return content, ends, labels


def _decoder() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError(f"decoding JPEG images needs Pillow: {install('data')}") from error

    def decode(content: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
        with Image.open(BytesIO(content), formats=("JPEG",)) as image:
            if (image.height, image.width) != size:
                raise ValueError(f"its size is {image.height} x {image.width}")
            return np.asarray(image.convert("RGB"))

    return decode
