"""Random inputs for one neighbourhood or a complete network, for use when data is scarce.

Floating-point inputs are drawn. Whole numbers, masks (boolean, or additive masks, which contain
infinity or the largest number of their dtype) and everything else come from a few known samples,
drawn with replacement. Inputs that are the same for all samples are not changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.activations import Activations
from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.cost import forward_operations
from beyondprop.neighbourhoods.draws import Draw, Known
from beyondprop.neighbourhoods.interfaces import interfaces
from beyondprop.neighbourhoods.layout import Layout
from beyondprop.neighbourhoods.masks import is_added_mask
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.pieces.contents import content, digest_of_model
from beyondprop.pieces.data import Batch, first_batch, size, sizes, some
from beyondprop.pieces.described import digest_of
from beyondprop.random.streams import stream_of
from beyondprop.registry import check_fields
from beyondprop.registry.limits import Count
from beyondprop.shapes import taken_by

KNOWN = 256
"""The default number of samples of the data that are held in memory."""


@dataclass(frozen=True)
class DrawnInputs:
    """How inputs of neighbourhoods are drawn.

    Attributes:
        draw: The way to draw.
        samples: The number of samples drawn in a pass.
        known: The maximum number of samples, from the start of the data, that are held in memory:
            they provide forms, moments, masks and whole numbers.

    Raises:
        UserError: A number is less than 1, or `draw` is not a draw.
    """

    draw: Draw
    samples: Count
    known: Count = KNOWN

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, eq=False)
class Source:
    """An unlimited source of samples of several inputs that belong together.

    Attributes:
        called: The recipient's name in messages.
        draw: The way to draw floating-point inputs.
        known: Known samples of each input, equally many.

    Raises:
        UserError: Nothing can be drawn, or there are too few known samples for this draw.
    """

    called: str
    draw: Draw
    known: tuple[Known, ...]

    def __post_init__(self) -> None:
        if not self.real:
            raise UserError(
                f"{self.called} gets no real numbers that could be drawn, only whole ones and "
                "masks: leave it out, or train it on data"
            )
        count = len(self.known[0].samples)
        if count < self.draw.needs:
            raise UserError(
                f"'{self.draw.name}' needs at least {self.draw.needs} known samples of the inputs "
                f"of {self.called}, not {count}: give more, or draw with 'gaussian'"
            )

    @cached_property
    def real(self) -> tuple[Known, ...]:
        """The inputs that are drawn."""
        return tuple(each for each in self.known if drawn(each.samples))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the draw and of everything that it uses of the known samples."""
        found = hashlib.sha256(digest_of(self.draw, "the draw").encode())
        for each in self.known:
            x, real = each.samples, each in self.real
            found.update(f"{x.dtype} {tuple(x.shape[1:])} {each.axes.words} {real}".encode())
            if self.draw.needs or not real:
                found.update(content(x))
        return found.hexdigest()

    def take(self, count: int, generator: torch.Generator) -> list[Tensor]:
        """Return this many samples of each input, ``(count, ...)``."""
        known, device = len(self.known[0].samples), self.known[0].samples.device
        rows = torch.randint(known, (count,), generator=generator, device=device)
        made = iter(self.draw.draw(self.real, rows, generator))
        return [next(made) if each in self.real else each.samples[rows] for each in self.known]

    def generator(self, stream: str) -> torch.Generator:
        """Return a new generator, seeded by the name of a stream."""
        device = self.known[0].samples.device
        return torch.Generator(device).manual_seed(stream_of(stream))


def drawn(x: Tensor) -> bool:
    """Whether an input is drawn: it has floating-point numbers and is not an additive mask."""
    return x.is_floating_point() and not is_added_mask(x)


@dataclass(frozen=True, eq=False)
class Synthetic(Activations):
    """Calls of a neighbourhood on drawn inputs, with outputs computed by the teacher's piece.

    Nothing is stored. Each pass draws other samples; the same seed draws the same samples.

    Attributes:
        name: The name of the neighbourhood.
        piece: The teacher's piece, in eval mode.
        layout: The layout of its calls.
        source: The source of its inputs.
        samples: The number of samples in a pass.
        seed: Seeds the draws of every pass.
    """

    name: str
    piece: nn.Module
    layout: Layout
    source: Source
    samples: int
    seed: int = 0

    def batches(self, size: int, seed: int) -> Iterator[Call]:
        """Yield calls of this many samples.

        Args:
            size: Samples in a batch, at most.
            seed: The seed of the pass.
        """
        generator = self.source.generator(f"{self.name}, {self.seed}, {seed}")
        for count in sizes(self.samples, size):
            yield self._call(count, generator)

    def steps(self, size: int) -> int:
        """Return the number of batches of this size in a pass."""
        return -(-self.samples // size)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the source, the piece, and the inputs that all samples share."""
        found = hashlib.sha256(f"{self.name} {self.samples} {self.seed}".encode())
        found.update(self.source.digest.encode())
        found.update(digest_of_model(self.piece).encode())
        for each in self.layout.constants:
            found.update(content(each))
        return found.hexdigest()

    @cached_property
    def operations(self) -> int:
        """The operations of the teacher's piece."""
        return forward_operations(self.piece, self.layout.sample)

    @torch.no_grad()
    def _call(self, count: int, generator: torch.Generator) -> Call:
        return self.layout.call_by(self.piece, self.source.take(count, generator))


def synthesized(
    teacher: nn.Module,
    wanted: Sequence[Neighbourhood],
    data: Iterable[Batch],
    own: DrawnInputs,
) -> dict[str, Synthetic]:
    """Return calls of all neighbourhoods on drawn inputs.

    Args:
        teacher: The teacher, in eval mode.
        wanted: The neighbourhoods.
        data: Batches of known samples of the teacher's inputs; the first has at least two.
        own: How inputs are drawn.

    Raises:
        UserError: There is no data, a neighbourhood can't be trained on its own, or it has no
            inputs that can be drawn.
    """
    found = interfaces(teacher, wanted, first_batch(data))
    seen = [calls(teacher, wanted, batch) for batch in some(data, own.known)]
    made = {}
    for each in wanted:
        piece, layout = each.piece(teacher), found[each.name]
        axes = taken_by([piece])
        rows = zip(*(layout.inputs(one[each.name]) for one in seen), strict=True)
        known = tuple(Known(torch.cat(parts), axes) for parts in rows)
        source = Source(f"'{each.name}'", own.draw, known)
        made[each.name] = Synthetic(each.name, piece, layout, source, own.samples)
    return made


@dataclass(frozen=True, eq=False)
class DrawnBatches:
    """Batches of drawn inputs of a complete network; the same in every pass over them.

    They can be used like any other data, for example to capture neighbourhoods' calls while noise
    runs through the complete network.

    Attributes:
        teacher: The network, whose layers determine which axes of the inputs hold channels.
        known: A few samples of its inputs.
        draw: The way to draw.
        samples: The number of drawn samples.
        batch_size: Samples in a batch, at most.
        seed: The seed of the draws.

    Raises:
        UserError: A number is less than 1, the network has no inputs that can be drawn, or there
            are too few known samples for this draw.
    """

    teacher: nn.Module
    known: Batch
    draw: Draw
    samples: Count
    batch_size: Count
    seed: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        size(self.known)
        _ = self.source  # raises if nothing can be drawn

    @cached_property
    def source(self) -> Source:
        """The source of the inputs."""
        axes = taken_by([self.teacher])
        known = tuple(Known(each, axes) for each in leaves(self.known))
        return Source("the network", self.draw, known)

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        generator = self.source.generator(f"the network, {self.seed}")
        for count in sizes(self.samples, self.batch_size):
            yield self._batch(count, generator)

    @torch.no_grad()
    def _batch(self, count: int, generator: torch.Generator) -> Batch:
        taken = self.source.take(count, generator)
        made = {id(each): x for each, x in zip(leaves(self.known), taken, strict=True)}
        return replaced(self.known, lambda each: made[id(each)])
