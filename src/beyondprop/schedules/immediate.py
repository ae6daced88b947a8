"""Trains blocks one after another inside the forward pass."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from beyondprop._torch.eager import eager
from beyondprop._torch.processes import processes
from beyondprop.core import Block, End, Schedule
from beyondprop.engine.walk import parameters_behind
from beyondprop.errors import UserError, check_type


class Immediate(Schedule):
    """Each block learns, steps and frees its activations before the next block runs.

    Memory then holds the activations and gradients of only one block at any depth, and no block
    waits for a backward pass. The training loop stays the same: ``model(x)`` trains all blocks
    except the one that returns the output, which learns from ``loss.backward()`` and
    ``optimizer.step()``. Nothing learns in eval mode, under ``torch.no_grad()``, or inside
    `exact_gradients`.

    Args:
        optimizer: An optimizer over ``[*model.parameters(), *handle.parameters()]``, which steps
            once for each block. Its learning rates may change between batches.

    Raises:
        UserError: The argument is not an optimizer.
    """

    keeps_graphs: ClassVar[bool] = False

    def __init__(self, optimizer: Optimizer) -> None:
        check_type("the optimizer", optimizer, Optimizer, "a torch.optim.Optimizer")
        self.optimizer = optimizer
        self._seen: set[Block] = set()
        self._owners: dict[int, Block] = {}

    def check(self, blocks: Sequence[Block]) -> None:
        """Raise a `UserError` if a rule's signal is known only after the forward pass."""
        hidden = blocks[:-1] if not blocks[-1].rule.traits.ends_graph else blocks
        late = {type(b.rule).__name__ for b in hidden if not b.rule.traits.immediate}
        if late:
            raise UserError(
                f"{', '.join(sorted(late))} cannot train a block during the forward pass, because "
                "the signal comes from the model's output: leave the schedule out, or attach a "
                "rule that can, such as LocalLoss()"
            )

    def begin(self) -> None:
        """Raise a `UserError` inside data-parallel training."""
        if processes() > 1:
            raise UserError(
                "Immediate steps inside the forward pass, before DistributedDataParallel averages "
                "gradients, so the processes would silently drift apart: leave the schedule out "
                "and average with DataParallel(handle), or use Pipeline"
            )

    # The compiler would remove a backward pass inside a forward pass.
    @eager
    def take(self, ends: Sequence[End]) -> None:
        """Run backward through the block and step the parameters that get a gradient."""
        roots = [end.root for end in ends]
        self._check_block(ends)
        gradients = [end.gradient() for end in ends]
        held = [p for group in self.optimizer.param_groups for p in group["params"]]
        before = [(p, p.grad) for p in held if p.grad is not None]
        for parameter, _ in before:  # don't step gradients that the caller accumulates
            parameter.grad = None
        try:
            torch.autograd.backward(roots, gradients)
            self.optimizer.step()
            if torch.is_autocast_enabled(roots[0].device.type):
                # Its low-precision copies of weights are from before the step.
                torch.clear_autocast_cache()
        finally:
            self.optimizer.zero_grad()
            for parameter, kept in before:
                parameter.grad = kept

    def _check_block(self, ends: Sequence[End]) -> None:
        """Raise unless a block's parameters are in the optimizer and in this block only."""
        at = ends[0].at
        if at.block in self._seen:
            return
        if any(end.deferred and at.state for end in ends):
            raise UserError(
                f"{type(at.block.rule).__name__} computes gradients for its own state, which "
                "Immediate does not pass on: leave the schedule out"
            )
        held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        learned = [p for _, p in at.block.parameters()]
        learned += [t for t in at.state.values() if isinstance(t, torch.nn.Parameter)]
        if any(id(p) not in held for p in learned if p.requires_grad and not is_lazy(p)):
            raise UserError(
                "the optimizer lacks parameters of a block or its head: build it over "
                "[*model.parameters(), *handle.parameters()]"
            )
        for end in ends:
            for leaf in parameters_behind(end.root):
                if self._owners.setdefault(id(leaf), at.block) is not at.block:
                    raise UserError(
                        "a part of the model with the exact gradient comes before several blocks "
                        "that learn during the forward pass, and would step for each of them: "
                        "make it a separate block, or leave the schedule out"
                    )
        self._seen.add(at.block)
