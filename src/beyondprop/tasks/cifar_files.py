"""The files of CIFAR-10: the published batches, loose or in an archive, and a JPEG version."""

import math
import tarfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from beyondprop.errors import UserError
from beyondprop.tasks import (
    data,
    files,
    jpegs,
    pickles,
)

CLASSES = 10
IMAGE = (3, 32, 32)
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST = "test_batch"
FOLDER = "cifar-10-batches-py"
BINARY = ".bin"


class Images(NamedTuple):
    """Images (n, 3, 32, 32) uint8 and their labels (n,) int64."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Cifar:
    """The forms in which the data set may be available, the preferred one first.

    Attributes:
        batches: The six batches, with their hashes.
        archive: The single file in which they are published.
        binary: The six batches in the published binary version, which has no published hashes.
        jpeg: `train.npz` and `test.npz`, see `jpegs`; lossy, so its name differs.
    """

    batches: data.FileSource
    archive: data.FileSource
    binary: data.FileSource
    jpeg: data.FileSource

    def read(self, folder: Path | None = None) -> tuple[str, Images, Images]:
        """Return the name of the form that was found (see `data.find_any`), and its training and
        test images.

        Raises:
            UserError: Nothing is found, or it is damaged or not the published data.
        """
        forms = self.batches, self.archive, self.binary, self.jpeg
        found, paths = data.find_any(forms, folder)
        if found is self.jpeg:
            train, test = (_from_jpegs(paths[name]) for name in found.files)
            return found.name, train, test
        if found is self.batches:
            parts = {
                name: batch(files.read(path, found.files[name]), str(path))
                for name, path in paths.items()
            }
        elif found is self.binary:
            parts = {
                name.removesuffix(BINARY): binary_batch(files.read(path), str(path))
                for name, path in paths.items()
            }
        else:
            parts = self._unpacked(*paths.values())
        images, labels = zip(*(parts[name] for name in TRAIN), strict=True)
        return found.name, Images(torch.cat(images), torch.cat(labels)), parts[TEST]

    def _unpacked(self, path: Path) -> dict[str, Images]:
        content = files.read(path, self.archive.files[path.name], unpack=False)
        parts = {}
        try:
            with tarfile.open(fileobj=BytesIO(content)) as archive:
                for name, digest in self.batches.files.items():
                    member = archive.extractfile(f"{FOLDER}/{name}")
                    if member is None:
                        raise KeyError(f"{name} is not a file")
                    batch_content = member.read()
                    if digest is not None:
                        files.check(batch_content, f"{name} in {path}", digest)
                    parts[name] = batch(batch_content, f"{name} in {path}")
        except (KeyError, EOFError, OSError, tarfile.TarError, zlib.error) as error:
            raise UserError(f"{path} is not the archive of CIFAR-10 ({error})") from error
        return parts


CIFAR10 = Cifar(
    batches=data.FileSource(
        name="CIFAR-10",
        folders=(FOLDER,),
        files=dict(
            zip(
                (*TRAIN, TEST),
                (
                    "c99cafc152244af753f735de768cd75f",
                    "d4bba439e000b95fd0a9bffe97cbabec",
                    "54ebc095f3ab1f0389bbae665268c751",
                    "634d18415352ddfa80567beed471001a",
                    "482c414d41f54cd18b22e5b47cb7c3cb",
                    "40351d587109b95175f43aff81a1287e",
                ),
                strict=True,
            )
        ),
        gzipped=False,
    ),
    archive=data.FileSource(
        name="CIFAR-10",
        folders=("cifar-10", "."),  # the second is torchvision's
        files={
            "cifar-10-python.tar.gz": (
                "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
            )
        },
        urls=(
            "https://www.cs.toronto.edu/~kriz/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        gzipped=False,
    ),
    binary=data.FileSource(
        name="CIFAR-10 (binary version)",
        folders=("cifar-10-batches-bin",),
        files=dict.fromkeys(f"{name}{BINARY}" for name in (*TRAIN, TEST)),
        gzipped=False,
    ),
    jpeg=data.FileSource(
        name="CIFAR-10 (JPEG)",
        folders=("cifar10-jpeg",),
        files={"train.npz": None, "test.npz": None},
        gzipped=False,
    ),
)


def batch(content: bytes, name: str) -> Images:
    """Return the images and labels of a batch of the Python version, a pickled dictionary.

    Its `data` is (n, 3072) uint8, each row an image's red, green and blue plane in sequence; its
    `labels` is a list of n classes (https://www.cs.toronto.edu/~kriz/cifar.html).

    Args:
        content: The pickle; nothing in it is executed, see `pickles`.
        name: Name for error messages.

    Raises:
        UserError: It is not such a dictionary.
    """
    found = pickles.parse(content, name)
    values = pickles.array(found.get(b"data"), f"the data of {name}")
    if values.ndim != 2 or values.shape[1] != np.prod(IMAGE):
        raise UserError(f"the data of {name} is not (n, 3072) but {values.shape}")
    labels = found.get(b"labels")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise UserError(f"the labels of {name} are not a list of whole numbers")
    images = torch.from_numpy(values.reshape(-1, *IMAGE).copy())  # a pickle's bytes are read-only
    return _checked(images, np.array(labels, dtype=object), name)


def binary_batch(content: bytes, name: str) -> Images:
    """Return the images and labels of a batch of the binary version.

    A record is 3,073 bytes: the label, then the red, green and blue plane in sequence.

    Args:
        content: The records in sequence.
        name: Name for error messages.

    Raises:
        UserError: The content does not consist of such records.
    """
    size = 1 + math.prod(IMAGE)
    if not content or len(content) % size:
        raise UserError(f"{name} has {len(content):,} bytes, which are not records of {size:,}")
    records = torch.frombuffer(bytearray(content), dtype=torch.uint8).view(-1, size)
    images = records[:, 1:].reshape(-1, *IMAGE)
    return _checked(images, records[:, 0].numpy(), name)


def _from_jpegs(path: Path) -> Images:
    images, labels = jpegs.read(path, size=IMAGE[1:])
    return _checked(torch.from_numpy(images), labels, str(path))


def _checked(images: Tensor, labels: NDArray[Any], name: str) -> Images:
    if len(labels) != len(images) or not len(labels):
        raise UserError(f"{name} has {len(images)} images but {len(labels)} labels")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise UserError(
            f"the labels of {name} run from {labels.min()} to {labels.max()}, not from 0 to 9"
        )
    return Images(images, torch.from_numpy(labels.astype(np.int64)))
