"""Checks with stand-ins whether parts of a network can be replaced."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.fused import unfused
from beyondprop._torch.pytrees import form, leaves
from beyondprop.errors import UserError, one_line
from beyondprop.neighbourhoods.calls import Call, check_resting, copied
from beyondprop.neighbourhoods.candidates.base import Candidate
from beyondprop.neighbourhoods.layout import Layout, layouts
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.neighbourhoods.stand_in import StandIn, disturbed, unchanged
from beyondprop.pieces.data import Batch, first, size


def interfaces(
    teacher: nn.Module, wanted: Sequence[Neighbourhood], batch: Batch
) -> dict[str, Layout]:
    """Return the layout of each neighbourhood's calls, if all of them can be replaced.

    Args:
        teacher: The teacher, in eval mode.
        wanted: The neighbourhoods whose layouts are returned.
        batch: Inputs of the teacher, at least two samples.

    Raises:
        UserError: The teacher cannot be called with the batch, or `layouts` or `check_pieces`
            raises.
    """
    check_called(teacher, batch)
    found = layouts(teacher, wanted, batch)
    read = check_pieces(teacher, wanted, first(batch, 2))
    return {name: replace(layout, read=read[name]) for name, layout in found.items()}


def check_called(teacher: nn.Module, batch: Batch) -> None:
    """Check that a teacher accepts a batch.

    Raises:
        UserError: It fails, or is in training mode.
    """
    check_resting(teacher)
    size(batch)
    try:
        with torch.no_grad():
            call(teacher, copied(first(batch, 2)))
    except Exception as error:  # whatever the model's code does with other inputs
        kind = type(batch).__name__
        told = one_line(error, 200)
        raise UserError(
            f"the teacher cannot be called with the first batch of the data, a {kind} ({told}): a "
            "batch contains only the teacher's inputs, without labels; wrap a loader of (inputs, "
            "targets) as Inputs(loader)"
        ) from error


def check_pieces(
    teacher: nn.Module, wanted: Sequence[Neighbourhood], batch: Batch
) -> dict[str, frozenset[str]]:
    """Check that each neighbourhood can be replaced by another module, and all of them together.

    A stand-in that only returns the outputs of the teacher's piece must be called, and must give
    the teacher's output exactly. A different answer must change that output.

    Args:
        teacher: The teacher, in eval mode.
        wanted: The neighbourhoods.
        batch: The teacher's inputs.

    Returns:
        The attributes, such as numbers and names, that the model reads from each neighbourhood. A
        replacement must have them.

    Raises:
        UserError: A neighbourhood can't be replaced, because the model uses it other than by
            calling it. Or the teacher's output differs from call to call.
    """
    model = copy.deepcopy(teacher)
    with torch.no_grad(), unfused():  # fused kernels read weights of layers
        expected = outputs(model, batch)
        if not expected:
            raise UserError(
                "the teacher's output holds no tensor: return a tensor, or tensors in tuples, "
                "lists, mappings or dataclasses"
            )
        if not _same(outputs(model, batch), expected):
            raise UserError(
                "the teacher's output changes when it is called again with the same inputs, for "
                "example because of dropout in eval mode (F.dropout(training=True)), random "
                "numbers or state from earlier calls: make it deterministic (on a GPU also "
                "torch.use_deterministic_algorithms(True))"
            )
        read = {each.name: _read(model, each, batch, expected) for each in wanted}
        if len(wanted) > 1:
            with standing(model, wanted, unchanged):
                if not _same(outputs(model, batch), expected):
                    raise UserError(
                        "the model's output changes when all neighbourhoods are replaced together, "
                        "but not when only one is: use fewer neighbourhoods"
                    )
    return read


def _read(
    model: nn.Module, each: Neighbourhood, batch: Batch, expected: Sequence[Tensor]
) -> frozenset[str]:
    """Return the attributes that a model reads from a neighbourhood, if it can be replaced."""
    with standing(model, [each], unchanged) as made:
        try:
            found = outputs(model, batch)
        except Exception as error:  # whatever the model's code does with another module
            raise _within(each, f"fails ({one_line(error, 200)})") from error
        if not made[each].called:
            raise UserError(
                f"'{each.name}' is not called by that name: the model also holds the module in "
                "another place, such as a plain list, and would keep using the teacher's piece; "
                "change the model to call the module by this name, or leave the neighbourhood out"
            )
    if not _same(found, expected):
        raise _within(each, "gives another output")
    if _same(_disturbed(model, each, batch), expected):
        raise UserError(
            f"what '{each.name}' returns does not reach the model's output, so a student cannot be "
            "compared with it: leave it out"
        )
    return frozenset(made[each].read)


def _disturbed(model: nn.Module, each: Neighbourhood, batch: Batch) -> list[Tensor]:
    """Return a model's output with a disturbed output of a neighbourhood; empty if it fails."""
    with standing(model, [each], disturbed):
        try:
            return outputs(model, batch)
        except Exception:  # if the model rejects the output, it uses it
            return []


@contextmanager
def standing(
    model: nn.Module, wanted: Sequence[Neighbourhood], change: Callable[[Any], Any]
) -> Iterator[Mapping[Neighbourhood, StandIn]]:
    """Replace neighbourhoods by stand-ins inside the context, and yield the stand-ins."""
    own = {name: model.get_submodule(name) for each in wanted for name in each.modules}
    made = {each: StandIn(each.piece(model), change) for each in wanted}
    try:
        for each, one in made.items():
            each.put(model, one)
        yield made
    finally:
        for name, module in own.items():
            model.set_submodule(name, module, strict=True)


def outputs(model: nn.Module, batch: Batch) -> list[Tensor]:
    """Return the tensors of a model's output for a copy of a batch."""
    return list(leaves(copied(call(model, copied(batch)))))


def built(candidate: Candidate, piece: nn.Module, layout: Layout) -> nn.Module:
    """Return a student that can replace the piece.

    Args:
        candidate: Builds the student.
        piece: The teacher's piece, in eval mode.
        layout: The layout of the piece's calls.

    Raises:
        UserError: There is no such student, it lacks an attribute that the model reads, or it does
            not return what the piece returns.
    """
    student = candidate.build(piece, layout.sample)
    check_answer(student, layout.sample)
    for name in sorted(layout.read):
        try:
            attrgetter(name)(student)
        except AttributeError:
            raise UserError(
                f"the model reads '{name}' from this piece, which a {type(student).__name__} does "
                "not have: use a candidate that keeps the piece's class, such as 'copy', "
                "'narrower' or 'low-rank', or give the student this attribute"
            ) from None
    return student


@torch.no_grad()
def check_answer(student: nn.Module, call: Call) -> None:
    """Check that a student returns the same form as the teacher's piece; leave it in eval mode.

    Raises:
        UserError: It fails, or returns another form.
    """
    student.eval()
    name, wanted = type(student).__name__, form(call.output)
    try:
        with unfused():
            found = form(call.of(student))
    except Exception as error:  # whatever the student's code does
        told = one_line(error, 200)
        raise UserError(
            f"a {name} cannot be called like the teacher's piece ({told}): a student must take the "
            "same arguments"
        ) from error
    if found != wanted:
        raise UserError(
            f"a {name} returns {found} and the teacher's piece {wanted}: a student must return the "
            "same form"
        )


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    """Whether tensors are exactly equal, where NaN equals NaN."""
    return len(one) == len(other) and all(map(_equal, one, other))


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def _within(each: Neighbourhood, what: str) -> UserError:
    return UserError(
        f"with a stand-in for '{each.name}' the model {what}: it uses the inside of the "
        "neighbourhood other than by calling it, for example a weight, or a skip connection that "
        "starts in the middle; choose the whole block that contains it"
    )
