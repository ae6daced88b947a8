"""The meaning of a tensor's axes, which the layer that made it decides, or the user names.

All parts of the library that distinguish samples, tokens and channels use this file. The sizes of a
tensor never decide: a batch of six sequences and six channels look the same.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop.errors import UserError

BATCH, NODES, ONE = "batch", "nodes", "1"
MAPS = "positions"
"""Positions of feature maps, in one or more axes. Each has separate weights if the other tensor has
no such positions. All other positions share weights."""

ITEMS = frozenset({"features", "channels"})
PLAIN = frozenset({"batch features", "batch tokens features", "batch channels positions"})


@dataclass(frozen=True)
class Axes:
    """The meaning of a tensor's axes.

    Attributes:
        words: One name per axis; names in parentheses were flattened into one axis.
        dims: The number of axes that the layer returns, if its type decides it.
        plain: Whether the words are one of the three that layers decide, with the batch first.
        groups: The names in each axis: several if they were flattened into one.
        item: The index of the axis of features; None if there is one feature per row.
    """

    words: str
    dims: int | None = None
    plain: bool = field(init=False, compare=False)
    groups: tuple[tuple[str, ...], ...] = field(init=False, compare=False, repr=False)
    item: int | None = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Computed once, not in each step, where it would slow down small networks.
        parts = re.findall(r"\(([^()]*)\)|(\S+)", self.words)
        groups = tuple(tuple(inside.split()) if inside else (one,) for inside, one in parts)
        item = next((i for i, names in enumerate(groups) if names[:1] and names[0] in ITEMS), None)
        object.__setattr__(self, "plain", self.words in PLAIN)
        object.__setattr__(self, "groups", groups)
        object.__setattr__(self, "item", item)

    def at(self, x: Tensor | torch.Size) -> "Axes":
        """Return the axes of a tensor that a block with these axes returned.

        A block that ends in a convolution of images returns (batch, channels, height, width). If
        its output has another number of axes, the block has reshaped it: two axes are
        (batch, features), and three are (batch, tokens, features), as patch embeddings return.

        Raises:
            UserError: The user has named another number of axes, or no layer decides which axis is
                the batch.
        """
        dims = x.dim() if isinstance(x, Tensor) else len(x)
        if self.plain or self.dims is not None:
            if dims <= 2 or self == FEATURES:
                return FEATURES
            return self if self.dims in (None, dims) else TOKENS
        if self == UNSURE:
            if dims <= 2:
                return FEATURES
            raise UserError(
                "the model has layers with batch_first=False, so it does not show whether the "
                "batch or the tokens come first in what a block without such a layer returns: "
                "attach(..., axes={'NAME OF THE BLOCK': 'tokens batch features'}), or "
                "'batch tokens features'; handle.report names these blocks"
            )
        if self == MIXED:
            if dims <= 3:
                return TOKENS if dims == 3 else FEATURES
            raise UserError(
                f"a block with convolutions ends in a layer that takes features last, and returns "
                f"{dims} axes, so it does not show where its channels are: attach(..., "
                "axes={'NAME OF THE BLOCK': 'batch channels positions'}), or "
                "'batch tokens features'"
            )
        if dims != len(self.groups):
            raise UserError(
                f"axes= gives '{self.words}' for a tensor that has {dims} axes, not "
                f"{len(self.groups)}: name each of its axes"
            )
        return self


FEATURES = Axes("batch features")
TOKENS = Axes("batch tokens features")
CHANNELS = Axes("batch channels positions")
SEQUENCE_FIRST = Axes("tokens batch features", 3)
SOURCE = Axes("batch source features", 3)
UNSURE = Axes("?")
MIXED = Axes("batch ?")

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
    """Return the axes of the output of consecutive modules, decided by the last layer that can.

    Layers with features last, such as `nn.Linear`, return tokens; convolutions, their norms and
    poolings return channels; `nn.Flatten` returns features. Activations leave the decision to the
    modules before them, containers to the modules in them. If no layer decides, features come last.
    """
    for module in reversed(modules):
        found = _of_layer(module)
        if found is None and (inner := list(module.children())):
            found = axes_of(inner)
            if found == TOKENS and type(module) is not nn.Sequential and _has_images(module):
                return MIXED  # its own code may permute the axes again, as ConvNeXt does
        if found is not None:
            return found
    return TOKENS


def taken_by(modules: Iterable[nn.Module]) -> Axes:
    """Return the axes of the input of consecutive modules, decided by the first layer that can.

    Convolutions, their norms and poolings take channels, layers with features last take tokens, and
    before `nn.Flatten` each number of a sample is a feature. If no layer decides, features come
    last.
    """
    return _first_of(modules) or TOKENS


def _first_of(modules: Iterable[nn.Module]) -> Axes | None:
    found = (_of_layer(module) or _first_of(module.children()) for module in modules)
    return next(filter(None, found), None)


def _has_images(module: nn.Module) -> bool:
    """Whether a module contains convolutions of images or volumes."""
    return any(isinstance(inner, (nn.Conv2d, nn.Conv3d)) for inner in module.modules())


def parse(words: str) -> Axes:
    """Return the axes that a user named.

    Raises:
        UserError: They cannot be read, or are not consistent.
    """
    axes = Axes(words)
    if axes.plain:
        return axes
    names = [name for group in axes.groups for name in group]
    spelled = " ".join("(" + " ".join(g) + ")" if len(g) > 1 else g[0] for g in axes.groups if g)
    if not all(map(str.isalnum, names)) or not names or spelled != " ".join(words.split()):
        raise UserError(
            f"axes '{words}' cannot be read: write one name an axis, as 'tokens batch features', "
            "with names in parentheses that were flattened into one, as '(batch tokens) features'"
        )
    items = [group for group in axes.groups if ITEMS & set(group)]
    if len(items) > 1 or any(len(group) > 1 for group in items):
        raise UserError(f"axes '{words}' must have 'features' or 'channels' once, as an axis")
    repeated = sorted({name for name in names if name != ONE and names.count(name) > 1})
    if repeated:
        raise UserError(f"axes '{words}' have '{repeated[0]}' twice: give each axis another name")
    if BATCH in names and NODES in names:
        raise UserError(
            f"axes '{words}' have both 'batch' and 'nodes', and only one axis can hold samples"
        )
    if any(MAPS in group for group in axes.groups[:-1]) or MAPS in axes.groups[-1][1:]:
        raise UserError(f"axes '{words}' must end with 'positions', which names all remaining axes")
    return axes


def sequence_first(modules: Iterable[nn.Module]) -> bool:
    """Whether any of these layers takes tokens before the batch (``batch_first=False``)."""
    kinds = nn.MultiheadAttention, nn.RNNBase
    return any(not module.batch_first for module in modules if isinstance(module, kinds))


def has_positions(x: Tensor, axes: Axes, targets: Tensor) -> bool:
    """Whether each position of a block's output (a token, a pixel) has its own target.

    It has if the output has positions, and the targets have one axis fewer than the output, without
    the features.
    """
    return axes.at(x) not in (FEATURES, SOURCE) and targets.dim() == x.dim() - 1


def positions(axes: Axes) -> tuple[str, ...]:
    """Return the names of the positions of a sample."""
    names = (name for group in axes.groups for name in group)
    return tuple(name for name in names if name not in {BATCH, NODES, ONE, *ITEMS})


def channels_first(x: Tensor, axes: Axes) -> bool:
    """Whether a block's output is (batch, channels, positions…)."""
    return axes.at(x).words == CHANNELS.words


def features_axis(x: Tensor, axes: Axes) -> int:
    """Return the index of the axis of features in a block's output.

    Raises:
        UserError: The axes name no features.
    """
    found = axes.at(x)
    if found.plain or found.dims is not None:
        return 1 if found.words == CHANNELS.words else -1
    if found.item is None:
        raise UserError(f"axes '{found.words}' name no features: add 'features' or 'channels'")
    return found.item


def features_last(x: Tensor, axes: Axes) -> Tensor:
    """Return a block's output as (batch, positions…, features)."""
    return x.movedim(features_axis(x, axes), -1)


def samples_first(
    x: Tensor, axes: Axes, batch: int | None, samples: Tensor | None = None
) -> tuple[Tensor, Axes]:
    """Return a block's output as (batch, tokens…, features) with its axes; plain axes stay as they
    are.

    Args:
        x: The output.
        axes: The meaning of its axes.
        batch: The number of samples, or of rows if each row has a target.
        samples: The sample of each node; the nodes of a sample are averaged. None if each of the
            `batch` nodes has a target.

    Raises:
        UserError: The axes name no batch, or the batch has another size.
    """
    axes = axes.at(x)
    if axes.plain:
        return x, axes
    x = x.unsqueeze(-1) if axes.item is None else x.movedim(axes.item, -1)
    groups = [group for group in axes.groups if group[0] not in ITEMS]
    first = next((i for i, names in enumerate(groups) if {BATCH, NODES} & set(names)), None)
    if first is None:
        raise UserError(f"axes '{axes.words}' name no batch, which this rule needs: add 'batch'")
    if len(groups[first]) == 1 or batch is None or batch == x.shape[first]:
        x = x.movedim(first, 0)  # (batch, tokens…, features)
    else:
        x = _apart(x, first, groups[first], batch)
    if groups[first] == (NODES,) and batch is not None and (samples is not None or batch != len(x)):
        x = _averaged(x, samples, batch)
    return x, TOKENS if x.dim() > 2 else FEATURES


def targets_first(targets: Tensor, output: Axes) -> Tensor:
    """Return targets, which have the axes of the model's output, with the samples first.

    Args:
        targets: One for each sample, or for each position of a sample.
        output: The meaning of the axes of the model's output.
    """
    place = next((i for i, names in enumerate(output.groups) if names == (BATCH,)), 0)
    return targets.movedim(place, 0) if 0 < place < targets.dim() else targets


def _apart(x: Tensor, place: int, names: tuple[str, ...], batch: int) -> Tensor:
    """Return a tensor with its batch, which was flattened with tokens into one axis, first."""
    size = x.shape[place]
    if len(names) > 2 or not batch or size % batch:
        raise UserError(f"an axis of {size} cannot be split into {batch} samples")
    sizes = (batch, size // batch) if names[0] == BATCH else (size // batch, batch)
    taken: Tensor = x.unflatten(place, sizes)
    return taken.movedim(place + names.index(BATCH), 0)


def _averaged(x: Tensor, samples: Tensor | None, batch: int) -> Tensor:
    """Return the mean over the nodes of each sample."""
    if samples is None and batch == 1:
        return x.mean(0, keepdim=True)
    if samples is None or samples.shape != x.shape[:1]:
        raise UserError(
            f"a block returns {len(x)} nodes of {batch} samples: name the argument of the model's "
            "call that holds the sample of each node, attach(..., samples='batch')"
        )
    samples = samples.to(x.device)
    total = x.new_zeros(batch, *x.shape[1:]).index_add(0, samples, x)
    count = x.new_zeros(batch).index_add(0, samples, x.new_ones(len(x))).clamp(min=1)
    mean: Tensor = total / count.view(-1, *[1] * (x.dim() - 1))
    return mean


def pooled(x: Tensor, axes: Axes, most: int) -> Tensor:
    """Return one row per sample: tokens are averaged, feature maps are averaged over patches.

    Args:
        x: A block's output, ``(batch, ...)``.
        axes: The meaning of its axes.
        most: The largest number of features; feature maps with more are averaged.

    Returns:
        ``(batch, features)``.
    """
    axes = axes.at(x)
    if axes in (TOKENS, SOURCE):
        return x.flatten(1, -2).mean(1)  # (batch, features)
    if axes == FEATURES or x[0].numel() <= most or x.dim() not in POOLS:
        return x.reshape(len(x), -1)
    dims = x.dim() - 2
    # The cube root of 512 is a little less than 8 in floating point.
    side = max(1, math.floor((most / x.shape[1]) ** (1 / dims) + 1e-9))
    sides = [min(side, size) for size in x.shape[2:]]
    return POOLS[x.dim()](x, sides).flatten(1)  # (batch, channels × patches)


def classes_of(model: nn.Module) -> int | None:
    """Return the number of outputs of the model's last layer; None if that is unknown."""
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
