"""The dense Gaussian projection, rebuilt from a seed."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from beyondprop.projections.kept import Stored


def gaussian(seed: int, stream: int, count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the first ``count`` standard normal numbers of a stream.

    Box-Muller on the raw output of Philox4x64-10 (Salmon et al. 2011), a counter-based generator
    with a published specification: unlike a library's own ``randn``, the numbers do not depend on
    device or on the version of any library, and a shorter draw is the beginning of a longer one.
    """
    key = np.array([seed, stream], np.uint64)  # of a list, NumPy would round large numbers
    raw = np.random.Philox(key=key).random_raw(2 * math.ceil(count / 2))
    uniform = ((raw >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
    angle = 2.0 * np.pi * uniform[1::2]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:count]


@dataclass(frozen=True)
class Dense(Stored):
    """A stored matrix of independent Gaussian entries.

    Cost: ``in_features × out_features`` multiply-adds a row, and as many stored numbers for each
    block, or if shared for each width.

    Args:
        seed: Whole number that, with the stream, determines every entry.
        shared: One matrix for all blocks, sliced to each width, as published for large models
            (Launay et al. 2020); otherwise one matrix a block (Nøkland 2016).
    """

    name: ClassVar[str] = "dense"

    def _draw(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        # Column by column, so that the matrix of a narrower block is a slice of a wider one's.
        columns = gaussian(self.seed, stream, in_features * out_features)
        matrix = torch.from_numpy(columns).view(out_features, in_features).t()
        return matrix.mul(out_features**-0.5).contiguous().to(like.device, like.dtype)
