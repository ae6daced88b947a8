import re
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cifar_mirror import jpeg_fields, smooth_images
from numpy.typing import NDArray
from PIL import Image

from beyondprop.errors import UserError, install
from beyondprop.tasks import jpegs

SIZE = (32, 32)


@pytest.fixture
def fields() -> dict[str, NDArray[Any]]:
    return jpeg_fields(smooth_images(5))


def write(path: Path, fields: dict[str, NDArray[Any]]) -> Path:
    np.savez(path, **fields)  # type: ignore[arg-type]
    return path


def test_images_are_decoded_in_order(tmp_path: Path, fields: dict[str, NDArray[Any]]) -> None:
    images, labels = jpegs.read(write(tmp_path / "x.npz", fields), SIZE)
    assert images.shape == (5, 3, 32, 32)
    assert images.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 3, 4]
    difference = images.transpose(0, 2, 3, 1).astype(int) - smooth_images(5)
    assert np.abs(difference).mean() < 2


def test_grey_images_become_colour(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.new("L", SIZE, 100).save(buffer, "JPEG")
    content = np.frombuffer(buffer.getvalue(), np.uint8)
    grey = {
        "bytes": content,
        "offsets": np.array([0, len(content)]),
        "labels": np.zeros(1, np.uint8),
    }
    images, _ = jpegs.read(write(tmp_path / "x.npz", grey), SIZE)
    assert (images == 100).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bytes": np.zeros(4)}, "does not hold images: bytes must be"),
        ({"offsets": np.linspace(0, 1, 6)}, "offsets and labels must be whole numbers"),
        ({"labels": np.zeros((5, 1), np.uint8)}, "does not hold images"),
        ({"labels": np.zeros(4, np.uint8)}, "has 6 offsets for 4 labels, not one more"),
        ({"offsets": np.arange(6)}, "its offsets do not divide its .* bytes"),
        ({"offsets": np.array([0, 9, 5, 20, 30, 40])}, "its offsets do not divide"),
        ({"labels": np.array([None] * 5)}, "cannot be read as images"),
    ],
    ids=["type", "float offsets", "matrix", "number", "end", "order", "pickled"],
)
def test_odd_fields_are_refused(
    tmp_path: Path, fields: dict[str, NDArray[Any]], changes: dict[str, NDArray[Any]], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        jpegs.read(write(tmp_path / "x.npz", fields | changes), SIZE)


def test_a_missing_field_is_named(tmp_path: Path, fields: dict[str, NDArray[Any]]) -> None:
    del fields["labels"]
    with pytest.raises(UserError, match=r"cannot be read as images .*labels"):
        jpegs.read(write(tmp_path / "x.npz", fields), SIZE)


def test_a_damaged_file_is_one_sentence(tmp_path: Path, fields: dict[str, NDArray[Any]]) -> None:
    path = write(tmp_path / "x.npz", fields)
    content = path.read_bytes()
    for damaged in (b"", b"no zip", content[:-100], content[:500] + b"\0\0" + content[502:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read as images") as raised:
            jpegs.read(path, SIZE)
        assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match=r"missing\.npz cannot be read as images"):
        jpegs.read(tmp_path / "missing.npz", SIZE)


def test_a_damaged_image_is_named(tmp_path: Path, fields: dict[str, NDArray[Any]]) -> None:
    content = fields["bytes"].copy()
    content[fields["offsets"][3] :][:200] = 0
    with pytest.raises(UserError, match=r"image 3 of .*x\.npz is damaged \(cannot identify"):
        jpegs.read(write(tmp_path / "x.npz", fields | {"bytes": content}), SIZE)


def test_an_image_of_another_size_is_named(tmp_path: Path, fields: dict[str, NDArray[Any]]) -> None:
    path = write(tmp_path / "x.npz", fields)
    with pytest.raises(UserError, match=r"image 0 of .* is damaged \(its size is 32 x 32\)"):
        jpegs.read(path, (28, 28))


def test_without_pillow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UserError, match=re.escape(f"JPEG images needs Pillow: {install('data')}")):
        jpegs.read(tmp_path / "x.npz", SIZE)
