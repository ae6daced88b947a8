"""Matching an error to a block's output: which row of the error teaches which row of the output.

Axes with the same name are matched one to one. The error is summed over positions that the block's
output lacks; positions that the error lacks all get the same error. So one matrix, from the error's
features to the output's, serves sequences of every length. Only positions of feature maps have
separate weights if the other tensor has no such positions.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Size, Tensor

from beyondprop.errors import UserError
from beyondprop.shapes import (
    BATCH,
    CHANNELS,
    FEATURES,
    ITEMS,
    MAPS,
    NODES,
    ONE,
    POOLS,
    TOKENS,
    Axes,
)

ITEM = "features"


@dataclass(frozen=True)
class Layout:
    """A tensor's axes by name; axes that were flattened into one are listed separately.

    Attributes:
        names: The name of each axis.
        sizes: The size of each axis.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def by_name(self) -> dict[str, int]:
        """The size of each axis."""
        return dict(zip(self.names, self.sizes, strict=True))

    @property
    def maps(self) -> tuple[str, ...]:
        """The positions of feature maps."""
        return tuple(name for name in self.names if name.startswith(MAPS))

    def permuted(self, x: Tensor, names: tuple[str, ...]) -> Tensor:
        """Return a tensor of this layout with these axes in this order, summed over the others."""
        x = x.reshape(self.sizes)
        gone = [i for i, name in enumerate(self.names) if name not in names]
        if gone:
            x = x.sum(gone)
        kept = [name for name in self.names if name in names]
        return x.permute([kept.index(name) for name in names])


@dataclass(frozen=True)
class Match:
    """How an error teaches a block's output, through one matrix from features to features.

    Attributes:
        error: The error's layout.
        output: The output's layout.
        shape: The output's own shape.
        rows: The names of the output's axes other than features, in its order.
        width: The number of features of the error.
        features: The number of features of the output.
    """

    error: Layout
    output: Layout
    shape: Size
    rows: tuple[str, ...]
    width: int
    features: int

    def by_row(self, error: Tensor, samples: Tensor | None = None) -> Tensor:
        """Return an error with an axis for each of the output's rows, of size 1 where it has none.

        Args:
            error: The error.
            samples: The sample of each node, ``(nodes,)``; None if all belong to one sample.

        Returns:
            ``(…, width)``.
        """
        names, sizes = self.error, self.output.by_name
        shared = tuple(name for name in self.rows if name in names.names)
        maps = tuple(name for name in names.maps if name in self.rows)
        own = tuple(name for name in names.maps if name not in self.rows)
        item = (ITEM,) if ITEM in names.names else ()
        batch = (BATCH,) if self._of_nodes else ()
        x = names.permuted(error, (*batch, *shared, *item, *own))
        x = x.reshape(*x.shape[: len(batch) + len(shared)], self.width)  # (batch, shared…, width)
        if batch:
            x = self._of_each_node(x, samples)
            shared = (NODES, *shared)
            shared, x = _in_order(shared, self.rows, x)
        if maps:
            x = _resampled(x, [shared.index(name) for name in maps], [sizes[n] for n in maps])
        places = [x.shape[shared.index(n)] if n in shared else 1 for n in self.rows]
        return x.reshape(*places, self.width)

    def rows_of(self, x: Tensor) -> Tensor:
        """Return a tensor that is shaped like the output as ``(rows, features)``."""
        rest = tuple(name for name in self.output.names if name not in self.rows)
        return self.output.permuted(x, (*self.rows, *rest)).reshape(-1, self.features)

    def for_rows(self, error: Tensor, samples: Tensor | None = None) -> Tensor:
        """Return an error as ``(rows, width)``: the error of each row of the output."""
        sizes = self.output.by_name
        x = self.by_row(error, samples)
        return x.expand(*(sizes[n] for n in self.rows), self.width).reshape(-1, self.width)

    def shaped(self, signal: Tensor) -> Tensor:
        """Return a signal, ``(…, features)`` or ``(rows, features)``, shaped like the output."""
        sizes, names = self.output.by_name, self.output.names
        rest = tuple(name for name in names if name not in self.rows)
        places = [sizes[name] for name in self.rows]
        if signal.dim() != len(places) + 1:
            signal = signal.reshape(*places, self.features)
        signal = signal.expand(*places, self.features)
        x = signal.reshape(*places, *(sizes[name] for name in rest))  # (rows…, features, maps…)
        order = (*self.rows, *rest)
        return x.permute([order.index(name) for name in names]).reshape(self.shape)

    @property
    def _of_nodes(self) -> bool:
        return NODES in self.rows and BATCH in self.error.names

    def _of_each_node(self, x: Tensor, samples: Tensor | None) -> Tensor:
        """Return, for each node, the error of its sample.

        Raises:
            UserError: The samples of the nodes were not given, or not for all nodes.
        """
        nodes = self.output.by_name[NODES]
        if samples is None and len(x) == 1:
            return x.expand(nodes, *x.shape[1:])
        if samples is None:
            raise UserError(
                f"a block returns {nodes} nodes of {len(x)} samples: name the argument of the "
                "model's call that holds the sample of each node, attach(..., samples='batch')"
            )
        if samples.shape != (nodes,):
            raise UserError(
                f"samples= gives a tensor of shape {tuple(samples.shape)}, and a block returns "
                f"{nodes} nodes: it must hold the sample of each node"
            )
        return x.index_select(0, samples.to(x.device))


def match(error: Size, error_axes: Axes, output: Size, output_axes: Axes) -> Match:
    """Return how an error teaches a block's output.

    Args:
        error: The error's shape.
        error_axes: The meaning of its axes.
        output: The shape of the block's output.
        output_axes: The meaning of its axes.

    Raises:
        UserError: The two do not match.
    """
    if torch.compiler.is_dynamo_compiling():  # it does not trace into caches
        return _match(error, error_axes, output, output_axes)
    return _known(error, error_axes, output, output_axes)


@lru_cache(maxsize=256)
def _known(error: Size, error_axes: Axes, output: Size, output_axes: Axes) -> Match:
    return _match(error, error_axes, output, output_axes)


def _match(error: Size, error_axes: Axes, output: Size, output_axes: Axes) -> Match:
    if not error or not output:
        raise _unfit(error, output)
    first, second = _layouts(error, error_axes, output, output_axes)
    maps = second.maps if first.maps == second.maps else ()
    flat = {ITEM, *second.maps} - set(maps)
    rows = tuple(name for name in second.names if name not in flat)
    found = Match(
        first,
        second,
        output,
        rows,
        _numbers(first, {ITEM, *first.maps} - set(maps)),
        _numbers(second, flat),
    )
    _check(found, error, output)
    return found


def _numbers(layout: Layout, names: Collection[str]) -> int:
    return math.prod(size for name, size in layout.by_name.items() if name in names)


def _layouts(
    error: Size, error_axes: Axes, output: Size, output_axes: Axes
) -> tuple[Layout, Layout]:
    if len(error) == len(output) == 1 and error_axes.plain and output_axes.plain:
        return Layout((ITEM,), tuple(error)), Layout((ITEM,), tuple(output))  # without a batch
    named = _groups(error, error_axes), _groups(output, output_axes)
    atoms = set(named[0]) & set(named[1])  # flattened in the same way in both, so left as they are
    known = {
        group[0]: size
        for groups, shape in zip(named, (error, output), strict=True)
        for group, size in zip(groups, shape, strict=True)
        if len(group) == 1
    }
    return _split(named[0], error, known, atoms), _split(named[1], output, known, atoms)


def _groups(shape: Size, axes: Axes) -> tuple[tuple[str, ...], ...]:
    """Return the names in each axis of a tensor."""
    axes = axes.at(shape)
    more = len(shape) - 2
    if axes == FEATURES:
        return ((BATCH,), *[(ITEM,)] * (len(shape) - 1))
    if axes == TOKENS:
        return ((BATCH,), *[(f"tokens {i}" if i else "tokens",) for i in range(more)], (ITEM,))
    if axes.words == CHANNELS.words:
        return ((BATCH,), (ITEM,), *[(f"{MAPS} {i}",) for i in range(more)])
    return tuple((ITEM,) if group[0] in ITEMS else group for group in axes.groups)


def _split(
    groups: tuple[tuple[str, ...], ...],
    shape: Size,
    known: dict[str, int],
    atoms: set[tuple[str, ...]],
) -> Layout:
    """Return a tensor's layout, with flattened axes separated."""
    names: list[str] = []
    sizes: list[int] = []
    for group, size in zip(groups, shape, strict=True):
        if len(group) == 1 or group in atoms:
            if names and names[-1] == group[0] == ITEM:
                sizes[-1] *= size  # the last name covers all axes that follow
                continue
            names.append(" ".join(group) if group != (ONE,) else f"{ONE} {len(names)}")
            sizes.append(size)
            continue
        open_ones = [name for name in group if name not in known]
        held = math.prod(known[name] for name in group if name in known)
        if len(open_ones) > 1 or held == 0 or size % held or (not open_ones and held != size):
            raise UserError(
                f"an axis of {size} cannot be split into ({' '.join(group)}), of which "
                f"{', '.join(f'{n} is {known[n]}' for n in group if n in known) or 'none is known'}"
                ": name the axes of both the block and the output (that of the last block)"
            )
        names += group
        sizes += [known.get(name, size // held) for name in group]
    return Layout(tuple(names), tuple(sizes))


def _check(found: Match, error: Size, output: Size) -> None:
    """Raise an error if matched axes differ in size."""
    before, after = found.error.by_name, found.output.by_name
    for name in found.rows:
        if name in before and not name.startswith(MAPS) and before[name] != after[name]:
            if name == "tokens":
                raise UserError(
                    f"the model's output has {before[name]} tokens and a block's has {after[name]},"
                    " so they cannot be matched one to one: attach(..., axes={'NAME OF THE BLOCK': "
                    "'batch source features'}) gives each of the block's tokens the error of all"
                )
            raise _unfit(error, output)
    lacking = {BATCH, NODES} & set(after) - set(before)
    if lacking and not (lacking == {NODES} and BATCH in before):
        raise _unfit(error, output)


def _unfit(error: Size, output: Size) -> UserError:
    return UserError(
        f"an output of shape {tuple(error)} cannot teach a block whose output has shape "
        f"{tuple(output)}: both must begin with the same batch dimension (attach to the module "
        "that returns per-sample outputs, not the loss), or name their axes, attach(..., "
        "axes={'NAME OF THE BLOCK': …}): '(batch tokens) features' where tokens were flattened "
        "into the batch, '(tokens batch) features' where they come first, and 'nodes features' "
        "with samples= for the nodes of graphs"
    )


def whole_rows(
    first: Size, first_axes: Axes, second: Size, second_axes: Axes
) -> tuple[int, int, int]:
    """Return how tensors of fixed size map to each other, through one matrix for all rows.

    A row is a token if both tensors have equally many tokens; otherwise it is a sample, and all its
    values are its features.

    Returns:
        The number of rows, of features of the first and of features of the second.

    Raises:
        UserError: The two do not have the same samples.
    """
    if len(first) == len(second) == 1:
        return 1, first[0], second[0]  # one sample without a batch
    tokens = first_axes.at(first) == second_axes.at(second) == TOKENS
    rows = 2 if tokens and len(first) == len(second) == 3 and first[1] == second[1] else 1
    if min(len(first), len(second)) <= 1 or first[:rows] != second[:rows]:
        raise _unfit(first, second)
    return first[:rows].numel(), first[rows:].numel(), second[rows:].numel()


def _in_order(
    names: tuple[str, ...], order: tuple[str, ...], x: Tensor
) -> tuple[tuple[str, ...], Tensor]:
    """Return names and the tensor's first axes in another order."""
    wanted = tuple(name for name in order if name in names)
    return wanted, x.permute(*(names.index(name) for name in wanted), x.dim() - 1)


def _resampled(x: Tensor, places: list[int], sizes: list[int]) -> Tensor:
    """Return maps at the output's resolution: each position is the sum of those that it covers."""
    before = [x.shape[place] for place in places]
    if before == sizes:
        return x
    x = x.movedim(places, tuple(range(-len(places), 0)))  # (…, width, positions…)
    shape = x.shape[: -len(places)]
    pooled = POOLS[len(places) + 2](x.reshape(1, -1, *before), sizes)
    covered = math.prod(max(1.0, old / new) for old, new in zip(before, sizes, strict=True))
    return (pooled * covered).reshape(*shape, *sizes).movedim(tuple(range(-len(places), 0)), places)
