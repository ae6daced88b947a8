"""All sub-networks are trained together: first what joins them, then everything."""

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
"""Of a network, unless the recipe names others."""


@dataclass(frozen=True)
class Together(Course[Labelled]):
    """A whole network is taught by targets.

    Attributes:
        handle: Of the rule that teaches it.
        network: It.
        data: Batches of (inputs by name, targets).
        balancing: What happens in each step.
        recipe: How it is trained.
        rates: By which the learning rate of a modality's encoder and projection is multiplied.
        rested: Whether encoders and projections are left as they are, batch norms too.
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
        """Those of the data."""
        return len(self.data)

    def batches(self, epoch: int) -> Iterable[Labelled]:
        """Return the data, whose order is its own."""
        del epoch
        if self.rested:
            self.network.encoders.eval()
            self.network.fusion.project.eval()
        return self.data

    def loss(self, batch: Labelled) -> Tensor:
        """Return the joint loss, and add its gradients."""
        return self.differentiate(batch)

    def differentiate(self, batch: Labelled) -> Tensor:
        """Add what balancing makes of the gradients, and return the joint loss."""
        inputs, targets = batch
        return self.balancing.differentiate(inputs, targets)  # which gives rules their targets

    def rows(self, batch: Labelled) -> int:
        """Return those of the targets."""
        return len(next(leaves(batch[1])))

    def parameters(self) -> Iterable[Any]:
        """Return a group for each modality with a rate of its own, and one of all else."""
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
    """How the joint training went.

    Attributes:
        errors: The mean loss of each epoch's steps, those of the fusion alone first.
        validation: The validation loss of each epoch in which all is trained.
        best: The epoch of these whose weights the network has.
        steps: How many there were.
        operations: Floating-point operations of all steps; validation is left out.
        scores: Of each epoch in which all is trained, as `join` is asked for.
        seconds: Of each epoch's steps, on this machine, those of the fusion alone first.
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
    """Train the whole network, in place; leave it in eval mode with its best weights.

    At first encoders and projections may be left as `pretrain` made them, so that the fusion learns
    which modality to trust; then all is trained (Ismail, Hasan and Ishtiaq, arXiv 2011.06102).

    Args:
        network: That learns.
        data: Batches of (inputs by name, targets).
        validation: The same, by which the best epoch is chosen.
        loss: (outputs, targets) to a scalar.
        head: Builds the heads of single modalities from the fusion's width, where balancing needs
            such.
        recipe: How it is trained, by any rule. Its blocks are the encoders, the fusion and the head
            by default.
        rates: By which the learning rate of single modalities is multiplied, by name.
        warm: Epochs before, in which the fusion and the head alone are trained.
        patience: Epochs without a lower validation loss, behind which training ends; None: all of
            the recipe's are done.
        balance: How modalities are kept in step; nothing is done for it by default.
        score: (network) to a number, such as its accuracy on validation data, that is kept of each
            epoch in which all is trained.
        progress: Bars to draw on.

    Raises:
        DivergedError: A loss is no longer a number.
        UserError: A rate is of no modality, a rule or a balancing method can't teach the network,
            or there is no data.
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
            # How often the data was read, and its generator, are those of what follows.
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
    """Leave encoders and projections as they are inside."""
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
    """Return fresh heads of single modalities, drawn by a seed."""
    with generators_kept({each.device for each in network.parameters()}):
        torch.manual_seed(seed)
        made = nn.ModuleDict({name: head(network.fusion.width) for name in network.modalities})
    return made.to(next(network.parameters()).device)
