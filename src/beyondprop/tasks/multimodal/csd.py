"""Computational sequences, the files of CMU's multimodal SDK.

A ``.csd`` file is HDF5: one group, with the sequence's name, contains ``metadata`` and ``data``, in
which each segment has a group with ``features`` (frames, width) and ``intervals`` (frames, 2).
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.errors import UserError, install

Sequences = dict[str, Tensor]
"""Frames by segment name, ``(frames, width)`` float32 each."""


def read(path: Path) -> Sequences:
    """Return the features of each segment of a file.

    Raises:
        UserError: `h5py` is not installed, or the file cannot be read or holds no such sequences.
    """
    try:
        import h5py
    except ImportError as error:
        raise UserError(f".csd files need h5py: {install('modalities')}") from error
    try:
        with h5py.File(path, "r") as file:
            roots = [each for each in file.values() if isinstance(each, h5py.Group)]
            if len(roots) != 1 or not isinstance(roots[0].get("data"), h5py.Group):
                raise UserError(
                    f"{path} is not a computational sequence, which has its data in one group"
                )
            found = {name: features(path, name, each) for name, each in roots[0]["data"].items()}
    except OSError as error:
        raise UserError(f"{path} is not a readable HDF5 file ({error})") from error
    if len({each.shape[1] for each in found.values()}) != 1:
        raise UserError(f"{path} holds no segments of one width")
    return found


def features(path: Path, name: str, segment: Any) -> Tensor:
    """Return the features of a segment, ``(frames, width)``.

    Args:
        path: Path of the file, for messages.
        name: Name of the segment.
        segment: Its group.

    Raises:
        UserError: There are no features, or they are not numbers.
    """
    numbers = segment.get("features") if hasattr(segment, "get") else None
    if getattr(numbers, "dtype", np.dtype("S1")).kind not in "fiub":
        raise UserError(
            f"{path}: segment {name} has no features that are numbers: leave this file out of "
            "modalities="
        )
    made = torch.from_numpy(np.asarray(numbers, np.float32))
    if made.ndim != 2 or not made.numel():
        raise UserError(f"{path}: segment {name} is {tuple(made.shape)}, not (frames, width)")
    return made
