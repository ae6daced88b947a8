"""How an error teaches a block's output, one number after another (docs/attach.md)."""

from itertools import product

import torch


def signal(error, error_names, output_names, sizes, weight):
    """Return the signal at a block's output.

    Args:
        error: Axes by ``error_names``.
        error_names: One name an axis, "features" among them.
        output_names: The same for the block's output.
        sizes: The size of each axis of the output.
        weight: ``(features of the error, features of the output)``.
    """
    found = torch.zeros(*sizes, dtype=error.dtype)
    at = output_names.index("features")
    for place in product(*map(range, sizes)):
        mine = dict(zip(output_names, place, strict=True))
        for other in product(*map(range, error.shape)):
            theirs = dict(zip(error_names, other, strict=True))
            shared = (set(mine) & set(theirs)) - {"features"}
            if all(mine[name] == theirs[name] for name in shared):
                found[place] += error[other] * weight[theirs["features"], place[at]]
    return found
