"""A small data set in IDX files, and a mirror that serves it."""

import gzip
import struct
from dataclasses import dataclass, field
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Contents = dict[str, bytes]
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def encode_idx(array: NDArray[Any]) -> bytes:
    """An array as an IDX file, written from the format's description."""
    code = CODES[f"{array.dtype.kind}{array.dtype.itemsize}"]
    header = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def tiny_mnist() -> Contents:
    """Decompressed files of a data set like MNIST: 60 + 20 images of 28x28, 3 classes in turn."""
    generator = np.random.default_rng(0)
    train, test = (generator.integers(0, 256, (n, 28, 28), np.uint8) for n in (60, 20))
    return {
        "train-images-idx3-ubyte": encode_idx(train),
        "train-labels-idx1-ubyte": encode_idx(np.arange(60, dtype=np.uint8) % 3),
        "t10k-images-idx3-ubyte": encode_idx(test),
        "t10k-labels-idx1-ubyte": encode_idx(np.arange(20, dtype=np.uint8) % 3),
    }


def put(folder: Path, contents: Contents) -> Path:
    """Write files as they are published, compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        folder.joinpath(f"{name}.gz").write_bytes(gzip.compress(content))
    return folder


@dataclass
class Mirror:
    """A folder served over HTTP, and what was asked of it."""

    folder: Path
    url: str = ""
    requests: list[str] = field(default_factory=list)


class MirrorHandler(SimpleHTTPRequestHandler):
    """Answers from a mirror's folder."""

    def __init__(self, mirror: Mirror, *args: Any) -> None:
        self.mirror = mirror
        super().__init__(*args, directory=str(mirror.folder))

    def do_GET(self) -> None:
        self.mirror.requests.append(self.path.removeprefix("/"))
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
