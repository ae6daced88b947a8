"""Inputs and outputs of the teacher's neighbourhoods: the data on which students are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.calling import call
from beyondprop._torch.fused import unfused
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.errors import UserError
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood
from beyondprop.pieces.data import Batch, size


@dataclass(frozen=True)
class Call:
    """One call of a neighbourhood.

    Attributes:
        arguments: Positional arguments.
        keywords: Keyword arguments.
        output: The returned value.
        rows: The number of samples in the batch.
    """

    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    output: Any
    rows: int

    def of(self, piece: nn.Module) -> Any:
        """Return a piece's output for the same inputs, copied so that it may write into them."""
        arguments, keywords = copied((self.arguments, self.keywords))
        return piece(*arguments, **keywords)

    @property
    def inputs(self) -> list[Tensor]:
        """The tensors among the inputs, each once."""
        return list(leaves((self.arguments, dict(self.keywords))))

    @property
    def outputs(self) -> list[Tensor]:
        """The tensors of the output, each once."""
        return list(leaves(self.output))


class EnoughError(Exception):
    """Ends a pass of the teacher after the last requested neighbourhood."""


@dataclass
class Tape:
    """Records calls during a pass.

    Attributes:
        wanted: The requested neighbourhoods.
        stop: Whether the pass ends once all of them were called.
        rows: The number of samples in the batch.
        seen: Completed calls, by name.
        begun: Inputs of the neighbourhoods that were entered, by name.
    """

    wanted: Sequence[Neighbourhood]
    stop: bool
    rows: int
    seen: dict[str, Call] = field(default_factory=dict)
    begun: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def begin(self, each: Neighbourhood, inputs: tuple[Any, Any]) -> None:
        """Record the inputs of a neighbourhood's first module."""
        if each.name in self.begun:
            raise UserError(
                f"'{each.name}' runs more than once in a pass: its calls differ, and one student "
                "can't be trained on its own for all of them; leave it out"
            )
        self.begun[each.name] = copied(inputs)

    def end(self, each: Neighbourhood, output: Any) -> None:
        """Record the output of a neighbourhood's last module.

        Raises:
            EnoughError: All neighbourhoods were called, and `stop` is set.
        """
        if each.name not in self.begun:
            raise UserError(
                f"'{each.modules[-1]}' runs before '{each.name}': name the modules of a "
                "neighbourhood in the order in which they run"
            )
        self.seen[each.name] = Call(*self.begun[each.name], copied(output), self.rows)
        if self.stop and len(self.seen) == len(self.wanted):
            raise EnoughError


def calls(
    teacher: nn.Module, wanted: Sequence[Neighbourhood], batch: Batch, whole: bool = False
) -> dict[str, Call]:
    """Return the call of each neighbourhood in one pass of the teacher, without gradients.

    Args:
        teacher: The teacher, in eval mode.
        wanted: The neighbourhoods whose calls are returned.
        batch: The teacher's inputs.
        whole: Whether the pass continues to the model's end after all of them were called. By
            default it stops there, so that later modules are not computed.

    Raises:
        UserError: The teacher is in training mode, or a neighbourhood never runs, or runs twice.
    """
    check_resting(teacher)
    tape = Tape(wanted, stop=not whole, rows=size(batch))
    with torch.no_grad(), unfused(), taped(teacher, tape), suppress(EnoughError):
        call(teacher, batch)
    for each in wanted:
        if each.name not in tape.seen:
            raise UserError(
                f"'{each.name}' does not run when the model does: is it a part that only training "
                "or another task uses? leave it out"
            )
    return {each.name: tape.seen[each.name] for each in wanted}


@contextmanager
def taped(teacher: nn.Module, tape: Tape) -> Iterator[None]:
    """Record the calls of passes inside the context."""
    with ExitStack() as stack:
        for each in tape.wanted:
            first, last = (teacher.get_submodule(each.modules[place]) for place in (0, -1))

            def begun(*given: Any, each: Neighbourhood = each) -> None:
                tape.begin(each, given[1:])

            def ended(*given: Any, each: Neighbourhood = each) -> None:
                tape.end(each, given[-1])

            for hook in (
                # Before the user's hooks, which are part of the piece's computation.
                first.register_forward_pre_hook(begun, with_kwargs=True, prepend=True),
                last.register_forward_hook(ended),
            ):
                stack.callback(hook.remove)
        yield


def copied(value: Any) -> Any:
    """Return a value with copies of its tensors, so that later code cannot change them in place."""
    return replaced(value, lambda tensor: tensor.detach().clone())


def check_resting(teacher: nn.Module) -> None:
    """Raise unless a teacher is completely in eval mode.

    Raises:
        UserError: A module of it is in training mode.
    """
    training = [name or "the model" for name, module in teacher.named_modules() if module.training]
    if training:
        raise UserError(
            f"the teacher is in training mode ({training[0]}): call teacher.eval() first, or its "
            "dropout and batch norms would change what students learn"
        )
