"""Trains all sub-networks together: first the fusion and the head alone, then everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.jobs.progress import bars
from beyondprop.modalities.alone import Head
from beyondprop.modalities.balance import Balance, Balancing, Joint
from beyondprop.modalities.network import MultimodalNetwork
from beyondprop.pieces.data import length
from beyondprop.pieces.stopping import Stopping
from beyondprop.pieces.training import Course, Labelled, LabelledBatches, Recipe, taught, trained
from beyondprop.pieces.unread import unread

BLOCKS = ("encoders.*", "fusion", "head")
"""The default blocks of a network."""


@dataclass(frozen=True)
class Together(Course[Labelled]):
    """Training of a complete network on targets.

    Attributes:
        handle: The attachment of the rule that trains the network.
        network: The network.
        data: Batches of (inputs by name, targets).
        balancing: Computes the gradients of each step.
        recipe: The training recipe.
        rates: Factors for the learning rates of modalities' encoders and projections.
        rested: Whether encoders and projections are in eval mode, so that batch norms don't change.
    """

    handle: Attachment
    network: MultimodalNetwork
    data: LabelledBatches
    balancing: Balancing
    recipe: Recipe
    rates: Mapping[str, float]
    rested: bool = False

    @property
    def steps(self) -> int:
        """The number of batches in the data."""
        return len(self.data)

    def batches(self, epoch: int) -> Iterable[Labelled]:
        """Return the data, which determines its own order."""
        del epoch
        if self.rested:
            self.network.encoders.eval()
            self.network.fusion.project.eval()
        return self.data

    def loss(self, batch: Labelled) -> Tensor:
        """Return the joint loss, and add its gradients."""
        return self.differentiate(batch)

    def differentiate(self, batch: Labelled) -> Tensor:
        """Add the balanced gradients, and return the joint loss."""
        inputs, targets = batch
        return self.balancing.differentiate(inputs, targets)  # passes the targets to rules

    def rows(self, batch: Labelled) -> int:
        """Return the number of rows of the targets."""
        return len(next(leaves(batch[1])))

    def parameters(self) -> Iterable[Any]:
        """Return a group for each modality with its own rate, and one for everything else."""
        network, groups, grouped = self.network, list[dict[str, Any]](), set[int]()
        for name, rate in self.rates.items():
            own = [
                *network.encoders[name].parameters(),
                *network.fusion.project[name].parameters(),
            ]
            if grouped & {id(each) for each in own}:
                raise UserError(
                    f"'{name}' shares weights with another modality that has its own learning "
                    "rate: give a rate for only one of the two"
                )
            groups.append({"params": own, "lr": self.recipe.learning_rate * rate})
            grouped |= {id(each) for each in own}
        rest = [
            *network.parameters(),
            *self.handle.parameters(),
            *(each for module in self.balancing.modules for each in module.parameters()),
        ]
        groups.append({"params": [each for each in rest if id(each) not in grouped]})
        return groups


@dataclass(frozen=True)
class Joined:
    """The course of the joint training.

    Attributes:
        errors: The mean loss of each epoch's steps; epochs of the fusion alone come first.
        validation: The validation loss of each epoch in which everything is trained.
        best: The epoch, among these, whose weights the network has.
        steps: The number of steps.
        operations: Floating-point operations of all steps, without validation.
        scores: The score of each epoch in which everything is trained, if `join` gets one.
        seconds: The time of each epoch's steps on this machine; epochs of the fusion alone come
            first.
    """

    errors: tuple[float, ...]
    validation: tuple[float, ...]
    best: int
    steps: int
    operations: float
    scores: tuple[float, ...] = ()
    seconds: tuple[float, ...] = field(default=(), compare=False)


def join(
    network: MultimodalNetwork,
    data: LabelledBatches,
    validation: LabelledBatches,
    loss: Callable[[Any, Any], Tensor],
    head: Head,
    *,
    recipe: Recipe | None = None,
    rates: Mapping[str, float] | None = None,
    warm: int = 0,
    patience: int | None = None,
    balance: Balance | None = None,
    score: Callable[[nn.Module], float] | None = None,
    progress: Progress | None = None,
) -> Joined:
    """Train the complete network in place; leave it in eval mode with its best weights.

    Encoders and projections may stay fixed at first, as `pretrain` left them, so that the fusion
    learns which modality to trust; then everything is trained (Ismail, Hasan and Ishtiaq, arXiv
    2011.06102).

    Args:
        network: The network.
        data: Batches of (inputs by name, targets).
        validation: Batches in the same form, which select the best epoch.
        loss: Maps (outputs, targets) to a scalar.
        head: Builds the heads of single modalities from the fusion's width, if the balance needs
            them.
        recipe: The training recipe, with any rule. Its blocks are the encoders, the fusion and the
            head by default.
        rates: Factors for the learning rates of modalities, by name.
        warm: The number of epochs at first in which only the fusion and the head are trained.
        patience: Epochs without a lower validation loss after which training stops; None runs all
            of the recipe's epochs.
        balance: How modalities are kept balanced; plain joint training by default.
        score: Maps the network to a number, such as its accuracy on validation data, which is
            recorded for each epoch in which everything is trained.
        progress: Draws the progress bars.

    Raises:
        DivergedError: A loss is no longer a number.
        UserError: A rate names no modality, a rule or a balance can't teach the network, or there
            is no data.
    """
    own, multiplied = recipe or Recipe(), dict(rates or {})
    if unknown := set(multiplied) - set(network.modalities):
        raise UserError(
            f"there is no modality '{sorted(unknown)[0]}': the network has "
            f"{', '.join(network.modalities)}"
        )
    length(data)
    blocked = own if own.blocks is not None else replace(own, blocks=BLOCKS)
    heads = heads_of(network, head, own.seed)
    balancing = (balance or Joint()).begin(network, heads, loss)
    every = own.epochs if patience is None else patience
    stopping = Stopping(network, validation, loss, every, score)
    with ExitStack() as stack:
        shown = progress or stack.enter_context(bars())
        errors: tuple[float, ...] = ()
        seconds: tuple[float, ...] = ()
        steps, operations = 0, 0.0
        if warm:
            plain = Joint().begin(network, heads, loss)
            # Restored afterwards: the joint epochs read the data as if this phase had not run.
            with resting(network), taught(network, blocked) as handle, unread(data) as before:
                once = replace(blocked, epochs=warm, steps=None)
                course = Together(handle, network, before, plain, once, {}, rested=True)
                curve = trained(course, once, shown, "fusion alone")
            errors, seconds = curve.errors, curve.seconds
            steps, operations = curve.steps, curve.operations
        with taught(network, blocked) as handle:
            course = Together(handle, network, data, balancing, blocked, multiplied)
            curve = trained(course, blocked, shown, "all together", stopping)
    stopping.restore(own.learning_rate, curve.operations)
    return Joined(
        errors + curve.errors,
        tuple(stopping.losses),
        stopping.best,
        steps + curve.steps,
        operations + curve.operations,
        tuple(stopping.scores),
        seconds + curve.seconds,
    )


@contextmanager
def resting(network: MultimodalNetwork) -> Iterator[None]:
    """Freeze encoders and projections inside the context."""
    own = [*network.encoders.parameters(), *network.fusion.project.parameters()]
    learned = [each.requires_grad for each in own]
    try:
        for each in own:
            each.requires_grad_(False)
        yield
    finally:
        for each, before in zip(own, learned, strict=True):
            each.requires_grad_(before)


def heads_of(network: MultimodalNetwork, head: Head, seed: int) -> nn.ModuleDict:
    """Return new heads of single modalities, drawn from a seed."""
    with generators_kept({each.device for each in network.parameters()}):
        torch.manual_seed(seed)
        made = nn.ModuleDict({name: head(network.fusion.width) for name in network.modalities})
    return made.to(next(network.parameters()).device)
