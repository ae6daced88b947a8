"""Which tensors of a call have one row per sample, and which are the same in every call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, others, replaced
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.pieces.data import Batch, first, size


@dataclass(frozen=True)
class Layout:
    """The form of a neighbourhood's calls.

    Attributes:
        sample: A call of one sample, whose containers and constants all calls share.
        rows: For each tensor of it, inputs first, whether it has one row per sample; the others are
            the same in every call.
        read: The names of plain values that the model reads from the neighbourhood.
    """

    sample: Call
    rows: tuple[bool, ...]
    read: frozenset[str] = frozenset()

    def flat(self, found: Call) -> list[Tensor]:
        """Return the tensors with one row per sample, in order, which differ between calls."""
        return [each for each, row in zip(tensors(found), self.rows, strict=True) if row]

    def rows_in(self, name: str, found: Call) -> list[Tensor]:
        """Return the same as `flat`, after checking that the call has this form.

        Raises:
            UserError: The call has another form or other constants, so that one layout does not fit
                all of the data.
        """
        given, known = tensors(found), tensors(self.sample)
        alike = len(given) == len(known) and all(
            each.shape[row:] == own.shape[row:] and (row or torch.equal(each, own))
            for each, own, row in zip(given, known, self.rows, strict=True)
        )
        if not alike or not _same(list(others(whole(found))), list(others(whole(self.sample)))):
            raise UserError(
                f"the calls of '{name}' differ in form from batch to batch, for example if each "
                "batch is padded to its own length: pad all batches to the same length, or store "
                "no calls with distil(streamed=True)"
            )
        return self.flat(found)

    def call_of(self, flat: Sequence[Tensor]) -> Call:
        """Return the call with these tensors, in the order of `flat`."""
        arguments, keywords, output = self._filled(whole(self.sample), flat)
        return Call(arguments, keywords, output, len(flat[0]))

    def inputs(self, found: Call) -> list[Tensor]:
        """Return the inputs with one row per sample, in order."""
        return [each for each, row in zip(found.inputs, self.rows, strict=False) if row]

    @property
    def constants(self) -> list[Tensor]:
        """The inputs that are the same in every call, in order."""
        return [each for each, row in zip(self.sample.inputs, self.rows, strict=False) if not row]

    def call_by(self, piece: nn.Module, inputs: Sequence[Tensor]) -> Call:
        """Return a piece's call with these inputs, in the order of `inputs`."""
        arguments, keywords = self._filled((self.sample.arguments, self.sample.keywords), inputs)
        found = Call(arguments, keywords, None, len(inputs[0]))
        return replace(found, output=found.of(piece))

    def _filled(self, value: Any, flat: Sequence[Tensor]) -> Any:
        """Return a part of the sample's call, with these tensors replacing those with rows."""
        rest = iter(flat)
        made = {
            id(each): next(rest) if row else each
            for each, row in zip(leaves(value), self.rows, strict=False)
        }
        return replaced(value, lambda each: made[id(each)])


def whole(found: Call) -> tuple[Any, Any, Any]:
    """Return the arguments, the keywords and the output of a call."""
    return found.arguments, found.keywords, found.output


def tensors(found: Call) -> list[Tensor]:
    """Return the tensors of a call, inputs first, each once."""
    return list(leaves(whole(found)))


def layouts(teacher: nn.Module, wanted: Sequence[Neighbourhood], batch: Batch) -> dict[str, Layout]:
    """Return the layout of each neighbourhood's calls, from passes with two samples and with one.

    Args:
        teacher: The teacher, in eval mode.
        wanted: The neighbourhoods whose layouts are returned.
        batch: Inputs of the teacher, at least two samples.

    Raises:
        UserError: There are fewer samples, a neighbourhood can't be trained on its own, or its
            calls hold values other than tensors that differ between the passes.
    """
    if size(batch) < 2:
        raise UserError(
            "the inputs of a neighbourhood are read from at least two samples: use larger batches"
        )
    both = calls(teacher, wanted, first(batch, 2), whole=True)
    single = calls(teacher, wanted, first(batch, 1), whole=True)
    return {name: _layout(name, both[name], single[name]) for name in both}


def _layout(name: str, both: Call, single: Call) -> Layout:
    two, one = tensors(both), tensors(single)
    told = [list(others(whole(each))) for each in (both, single)]
    if len(two) != len(one) or not _same(*told):
        raise UserError(
            f"the calls of '{name}' hold something besides tensors that changes from pass to pass, "
            "such as a cache of keys and values: call the model without it (use_cache=False)"
        )
    return Layout(single, tuple(_has_rows(name, *pair) for pair in zip(two, one, strict=True)))


def _same(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists of constants are identical or equal, with the same types."""
    return len(one) == len(other) and all(
        type(a) is type(b) and (a is b or bool(a == b)) for a, b in zip(one, other, strict=True)
    )


def _has_rows(name: str, two: Tensor, one: Tensor) -> bool:
    """Whether a tensor has one row per sample, according to its shapes in both passes."""
    if two.dim() and one.dim() and (len(two), len(one)) == (2, 1) and two[0].shape == one[0].shape:
        return True
    if two.shape == one.shape and torch.equal(two, one):
        return False
    raise UserError(
        f"a tensor of '{name}' has the shape {tuple(two.shape)} for two samples and "
        f"{tuple(one.shape)} for one: its first axis must be the samples, or it must be the same "
        "for all; use a larger part of the model as neighbourhood"
    )
