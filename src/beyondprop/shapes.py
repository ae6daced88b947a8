"""The meaning of a tensor's axes: decided by the layer that made it, or said by the user.

Everything in the library that treats a sample, a token or a channel differently asks here. The
sizes of a tensor never decide: a batch of six sequences and six channels look the same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError


@dataclass(frozen=True)
class Axes:
    """What the axes of a tensor mean.

    Attributes:
        words: One name an axis; the last one stands for all that follow.
        dims: How many axes the layer returns, where its kind says so.
    """

    words: str
    dims: int | None = None

    def at(self, x: Tensor | torch.Size) -> "Axes":
        """Return the axes of a tensor that a block with these axes returned.

        A block that ends in a convolution of images returns (batch, channels, height, width). If
        its output has another number of axes, the block has reshaped it: two axes are
        (batch, features), and three are (batch, tokens, features), as patch embeddings return.
        """
        dims = x.dim() if isinstance(x, Tensor) else len(x)
        if dims <= 2 or self == FEATURES:
            return FEATURES
        return self if self.dims in (None, dims) else TOKENS


FEATURES = Axes("batch features")
TOKENS = Axes("batch tokens features")
CHANNELS = Axes("batch channels positions")
ALL = {axes.words: axes for axes in (FEATURES, TOKENS, CHANNELS)}

FEATURES_LAST = (
    *(nn.Linear, nn.Bilinear, nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm),
    *(nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase, nn.Transformer),
    *(nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
)
CHANNELS_FIRST: dict[int, tuple[type[nn.Module], ...]] = {
    3: (nn.Conv1d, nn.ConvTranspose1d, nn.MaxPool1d, nn.AvgPool1d, nn.InstanceNorm1d),
    4: (
        *(nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.BatchNorm2d),
        *(nn.InstanceNorm2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.PixelShuffle),
    ),
    5: (
        *(nn.Conv3d, nn.ConvTranspose3d, nn.MaxPool3d, nn.AvgPool3d, nn.BatchNorm3d),
        *(nn.InstanceNorm3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d),
    ),
}
NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm, nn.RMSNorm),
)
POOLS: dict[int, Callable[..., Tensor]] = {
    3: F.adaptive_avg_pool1d,
    4: F.adaptive_avg_pool2d,
    5: F.adaptive_avg_pool3d,
}
ANY_CHANNELS = (nn.BatchNorm1d, nn.SyncBatchNorm, nn.GroupNorm, nn.Unflatten, nn.Upsample)


def axes_of(modules: Sequence[nn.Module]) -> Axes:
    """Return the axes of what modules in a row return: the last layer that decides says it.

    Layers with features last, such as `nn.Linear`, return tokens; convolutions, their norms and
    poolings return channels; `nn.Flatten` returns features. Activations and containers pass the
    question on to what comes before or lies within. Where no layer decides, features come last.
    """
    for module in reversed(modules):
        found = _of_layer(module)
        if found is None and (inner := list(module.children())):
            found = axes_of(inner)
        if found is not None:
            return found
    return TOKENS


def parse(words: str) -> Axes:
    """Return the axes that a user names.

    Raises:
        UserError: They are none of those that the library knows.
    """
    if words not in ALL:
        known = "', '".join(ALL)
        raise UserError(f"axes '{words}' are not known: write one of '{known}'")
    return ALL[words]


def rows_and_features(
    error: torch.Size, error_axes: Axes, output: torch.Size, output_axes: Axes
) -> tuple[int, int, int]:
    """Return how an error teaches a block's output: row by row, by one matrix for all rows.

    A row is a token where both are (batch, tokens, features); else it is a sample, and all else is
    flattened into its features.

    Returns:
        Rows, features of the error, features of the block's output.

    Raises:
        UserError: The two do not have the same samples, or both have tokens, and not as many.
    """
    if len(error) == len(output) == 2 and error[0] == output[0]:
        return error[0], error[1], output[1]
    if len(error) == len(output) == 1:
        return 1, error[0], output[0]  # one sample without a batch
    tokens = error_axes.at(error) == output_axes.at(output) == TOKENS
    rows = 2 if tokens and len(error) == len(output) == 3 else 1
    if rows == 2 and error[0] == output[0] and error[1] != output[1]:
        raise UserError(
            f"the model's output has {error[1]} tokens and a block's has {output[1]}, so no token "
            "can teach its like: attach(..., axes={'NAME OF THE BLOCK': 'batch features'}) has "
            "each sample teach as a whole"
        )
    if min(len(error), len(output)) <= 1 or error[:rows] != output[:rows]:
        raise UserError(
            f"an output of shape {tuple(error)} cannot teach a block whose output has shape "
            f"{tuple(output)}: both must begin with the same batch dimension (attach to the module "
            "that returns per-sample outputs, not the loss)"
        )
    return error[:rows].numel(), error[rows:].numel(), output[rows:].numel()


def has_positions(x: Tensor, axes: Axes, targets: Tensor) -> bool:
    """Whether each position of a block's output (a token, a pixel) has a target of its own.

    It has where the output has positions, and the targets have as many axes as the output without
    its features.
    """
    return axes.at(x) != FEATURES and targets.dim() == x.dim() - 1


def channels_first(x: Tensor, axes: Axes) -> bool:
    """Whether a block's output is (batch, channels, positions…)."""
    return axes.at(x).words == CHANNELS.words


def features_last(x: Tensor, axes: Axes) -> Tensor:
    """Return a block's output as (batch, positions…, features)."""
    return x.movedim(1, -1) if channels_first(x, axes) else x


def pooled(x: Tensor, axes: Axes, most: int) -> Tensor:
    """Return one row a sample: tokens averaged, maps averaged over patches.

    Args:
        x: A block's output, ``(batch, ...)``.
        axes: What its axes mean.
        most: Features to which maps are averaged, if they have more.

    Returns:
        ``(batch, features)``.
    """
    axes = axes.at(x)
    if axes == TOKENS:
        return x.flatten(1, -2).mean(1)  # (batch, features)
    if axes == FEATURES or x[0].numel() <= most or x.dim() not in POOLS:
        return x.reshape(len(x), -1)
    dims = x.dim() - 2
    # The cube root of 512 is a little less than 8 in floating point.
    side = max(1, math.floor((most / x.shape[1]) ** (1 / dims) + 1e-9))
    sides = [min(side, size) for size in x.shape[2:]]
    return POOLS[x.dim()](x, sides).flatten(1)  # (batch, channels × patches)


def classes_of(model: nn.Module) -> int | None:
    """Return how many outputs the model's last layer has, where that can be seen."""
    for module in reversed(list(model.modules())):
        for attribute in ("out_features", "out_channels"):
            found = getattr(module, attribute, None)
            if isinstance(found, int):
                return found
        if any(True for _ in module.parameters(recurse=False)) and not isinstance(module, NORMS):
            return None
    return None


def _of_layer(module: nn.Module) -> Axes | None:
    if isinstance(module, FEATURES_LAST):
        return TOKENS
    if isinstance(module, nn.Flatten):
        return FEATURES
    if isinstance(module, ANY_CHANNELS):
        return CHANNELS
    for dims, kinds in CHANNELS_FIRST.items():
        if isinstance(module, kinds):
            return Axes(CHANNELS.words, dims)
    return None
