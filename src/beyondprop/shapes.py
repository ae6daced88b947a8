"""How an error is laid out against a block's output."""

import torch

from beyondprop.errors import UserError


def rows_and_features(error: torch.Size, tap: torch.Size) -> tuple[int, int, int]:
    """Say how an error is laid out against a block's output.

    One row a sample, and one row a token where both are ``(batch, tokens, features)`` with the same
    batch and tokens; everything else about a row is flattened into its features.

    Returns:
        Rows, features of the error, features of the block's output.

    Raises:
        UserError: The two do not have the same samples.
    """
    if len(error) == len(tap) == 2 and error[0] == tap[0]:
        return error[0], error[1], tap[1]
    rows = 2 if len(error) == len(tap) == 3 and error[:2] == tap[:2] else 1
    if len(error) == len(tap) == 1:
        rows = 0
    elif min(len(error), len(tap)) <= 1 or error[:rows] != tap[:rows]:
        raise UserError(
            f"an output of shape {tuple(error)} cannot teach a block whose output has shape "
            f"{tuple(tap)}: both must begin with the same batch dimension (attach to the module "
            "that returns per-sample outputs, not the loss)"
        )
    return error[:rows].numel(), error[rows:].numel(), tap[rows:].numel()
