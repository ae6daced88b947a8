"""A small data set in CIFAR-10's files, written as Python 2 wrote the published ones."""

import gzip
import hashlib
import io
import struct
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from beyondprop.tasks.cifar_files import (
    CIFAR10,
    FOLDER,
    TEST,
    TRAIN,
    Cifar,
)

Batches = dict[str, bytes]


def string(content: bytes) -> bytes:
    """A string of Python 2 as a pickle of protocol 2 has it."""
    if len(content) < 256:
        return b"U" + bytes([len(content)]) + content
    return b"T" + struct.pack("<I", len(content)) + content


def integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def pickled_array(values: NDArray[Any], kind: bytes = b"u1") -> bytes:
    """A matrix as NumPy 1 under Python 2 pickled it."""
    fortran = values.flags.f_contiguous and not values.flags.c_contiguous
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01"
        + b"".join(map(integer, values.shape))
        + b"\x86cnumpy\ndtype\n"
        + string(kind)
        # the type's own state; the order of the bytes; the bytes
        + b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x88" if fortran else b"\x89")
        + string(values.tobytes("A"))
        + b"tb"
    )


def pickled_labels(labels: list[int]) -> bytes:
    return b"](" + b"".join(map(integer, labels)) + b"e"


def pickled_batch(data: bytes, labels: bytes) -> bytes:
    """A batch from its data and labels, pickled already."""
    note = string(b"batch_label") + string(b"training batch 1 of 5")
    fields = string(b"labels") + labels + string(b"data") + data
    return b"\x80\x02}(" + note + fields + b"u."


def tiny_images() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """80 images (80, 3072), 60 for training, with labels from 0 to 9 in turn."""
    images = np.random.default_rng(0).integers(0, 256, (80, 3072), np.uint8)
    images[:, :1024] //= 2  # channels that differ in mean and deviation
    return images, np.arange(80) % 10


def tiny_batches() -> Batches:
    images, labels = tiny_images()
    parts = np.split(np.arange(80), [12, 24, 36, 48, 60])
    return {
        name: pickled_batch(pickled_array(images[part]), pickled_labels(labels[part].tolist()))
        for name, part in zip((*TRAIN, TEST), parts, strict=True)
    }


def put_batches(folder: Path, batches: Batches) -> Path:
    """The loose files in a data folder."""
    (folder / FOLDER).mkdir(parents=True)
    for name, content in batches.items():
        (folder / FOLDER / name).write_bytes(content)
    return folder


def put_binary(folder: Path) -> Path:
    """The binary version's loose files in a data folder."""
    (folder / "cifar-10-batches-bin").mkdir(parents=True)
    images, labels = tiny_images()
    records = np.concatenate([labels[:, None].astype(np.uint8), images], axis=1)
    parts = np.split(records, [12, 24, 36, 48, 60])
    for name, part in zip((*TRAIN, TEST), parts, strict=True):
        (folder / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(part.tobytes())
    return folder


def put_archive(folder: Path, batches: Batches) -> Path:
    """The archive in a data folder: the same bytes at any time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "cifar-10-python.tar.gz"
    with gzip.GzipFile(path, "wb", mtime=0) as packed, tarfile.open(None, "w", packed) as archive:
        for name, content in batches.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return folder


def smooth_images(n: int) -> NDArray[np.uint8]:
    """Images (n, 32, 32, 3) that JPEG hardly changes."""
    corners = np.random.default_rng(1).integers(0, 256, (n, 2, 2, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(c).resize((32, 32))) for c in corners])


def put_jpegs(folder: Path) -> Path:
    """The repack in a data folder: 60 + 20 images."""
    (folder / "cifar10-jpeg").mkdir(parents=True)
    images = smooth_images(80)
    for name, part in (("train", slice(60)), ("test", slice(60, 80))):
        fields = jpeg_fields(images[part])
        np.savez(folder / "cifar10-jpeg" / f"{name}.npz", **fields)  # type: ignore[arg-type]
    return folder


def jpeg_fields(images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    files = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=95, subsampling=0)
        files.append(buffer.getvalue())
    return {
        "bytes": np.frombuffer(b"".join(files), np.uint8),
        "offsets": np.cumsum([0, *map(len, files)]),
        "labels": (np.arange(len(files)) % 10).astype(np.uint8),
    }


def source_of(batches: Batches, archive: Path, url: str = "http://127.0.0.1:1/") -> Cifar:
    """The data set of these batches; its archive's hash is that of a file."""
    digests = {
        name: hashlib.md5(content, usedforsecurity=False).hexdigest()
        for name, content in batches.items()
    }
    whole = {archive.name: hashlib.sha256(archive.read_bytes()).hexdigest()}
    return Cifar(
        batches=replace(CIFAR10.batches, files=digests),
        archive=replace(CIFAR10.archive, files=whole, urls=(url,)),
        binary=CIFAR10.binary,
        jpeg=CIFAR10.jpeg,
    )
