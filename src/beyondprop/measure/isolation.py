"""The measured answer to 'Isn't loss.backward() just backprop?'."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves, replaced
from beyondprop.core import Block
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import untouched
from beyondprop.errors import UserError
from beyondprop.measure.base import Column, Figures, Measure, MeasureTraits, Subject, given
from beyondprop.measure.blocks import Batch, BlockGradients, gradients_of_blocks
from beyondprop.tasks import arguments_of

Row = Sequence[float | None]
Matrix = tuple[tuple[float | None, ...], ...]

SAMPLES = 32
"""Maximum number of samples; more are not needed to detect that a gradient changes."""


@dataclass(frozen=True)
class Isolation:
    """The result of `isolation`; ``print`` it.

    Attributes:
        blocks: Names of the blocks, in the order they run. Parameters without a module are not
            included.
        changes: ``changes[k][j]``: the relative change of the gradient of block k when the weights
            of block j were changed; None unless j is later than k, and None if block k gets no
            gradient.
        backprop: The same under exact gradients: what the measurement shows for blocks that are not
            isolated.
        crossings: Names of the blocks through whose input a gradient reached an earlier block.
    """

    blocks: tuple[str, ...]
    changes: Matrix
    backprop: Matrix
    crossings: tuple[str, ...]

    @property
    def isolated(self) -> bool:
        """Whether all gradients stayed bitwise identical, and none crossed to another block."""
        return not self.crossings and not any(change for row in self.changes for change in row)

    @property
    def taught(self) -> bool:
        """Whether any block but the last is trained, so that isolation is meaningful."""
        return bool(_known(self.changes) or self.crossings)

    @property
    def verdict(self) -> str:
        """Return a sentence on whether blocks learn independently."""
        if not self.taught:
            return "No block but the last is taught anything, so there is nothing to isolate."
        if self.isolated:
            return "Every block learns without the blocks after it: this is not backpropagation."
        return "Blocks do not learn on their own: at least one update depends on later blocks."

    def of_block(self, k: int) -> str:
        """Return what the update of block number k depends on: a word, a colon, and the
        explanation.
        """
        if k == len(self.blocks) - 1:
            return "last: no block comes after it"
        row = self.changes[k][k + 1 :]
        after = self.blocks[k + 1 :]
        changed = [name for name, change in zip(after, row, strict=True) if change]
        into = self.blocks[k + 1] in self.crossings
        if not _known([row]) and not into:
            return "not taught: the rule gives the block no update"
        if changed:
            return f"dependent: its update changes with the weights of {', '.join(changed)}"
        if into:
            return f"dependent: its update comes through {after[0]}, though not by its weights"
        return "isolated: its update depends on no weight of a later block"

    def __str__(self) -> str:
        if not self.taught:
            return self.verdict
        known = _known(self.backprop)
        control = f"{_percent(min(known))} to {_percent(max(known))}" if known else "not measured"
        crossed = "No gradient left a block through its input."
        if self.crossings:
            left = ", ".join(self.crossings)
            crossed = f"A gradient left these blocks through their input: {left}."
        return "\n".join(
            [
                self.verdict,
                "",
                "The error at the output was held fixed while the weights of one block were"
                " changed.",
                "The gradient of each block before it changed by:",
                "",
                *_table(self.blocks, self.changes),
                "",
                f"Under exact gradients these changes are: {control}.",
                crossed,
            ]
        )


def isolation(handle: Attachment, inputs: Any, targets: Any = None) -> Isolation:
    """Whether each block learns independently of the blocks after it, tested by changing their
    weights.

    The error at the model's output (at the module that ``output=`` names, if any) is held fixed
    while the weights of each block are changed in turn. Backprop carries the error through those
    weights, so the gradients of earlier blocks change; with a rule that sends every block its own
    signal, they stay bitwise identical. The measure also checks whether any gradient leaves a block
    through its input. The model, its weights (bitwise) and its modes are left unchanged.

    Cost: about two forward and backward passes for each block.

    Args:
        handle: The result of `attach`.
        inputs: One batch for the model, on its device; several arguments in a tuple or mapping.
        targets: Targets of the batch, for rules that need them.

    Raises:
        UserError: There is only one block, or the rule needs targets and there are none.
    """
    return isolation_on(handle, Batch(*arguments_of(inputs), targets))


def isolation_on(handle: Attachment, batch: Batch) -> Isolation:
    """Return the result of `isolation` on a batch with any arguments.

    Raises:
        UserError: There is only one block, or the rule needs targets and there are none.
    """
    if len(_running(handle)) < 2:
        raise UserError("isolation compares blocks with one another, and the model has only one")
    arguments = handle.passes.arguments
    called_with = arguments is not None and arguments.labels is not None
    if handle.needs_targets and batch.targets is None and not called_with:
        raise UserError("a rule attached to the model needs targets: give isolation the targets")
    changes = _changes(handle, batch)
    with exact_gradients(handle.model):
        backprop = _changes(handle, batch)
    names = tuple(block.name for block in _running(handle))
    return Isolation(names, changes, backprop, _crossings(handle, batch))


class IsolationMeasure(Measure):
    """Whether each block learns independently of the blocks after it.

    Known answers: every rule that ends a block's graph is isolated; backprop and all rules that
    send errors back layer by layer are not; frozen has nothing to isolate.
    """

    name = "isolation"
    title = "On what each block's update depends"
    about = (
        "Whether a block learns without the blocks after it. The error at the output is held fixed"
        " while the weights of each block are changed in turn. Under backpropagation, this changes"
        " the updates of the blocks before it; those of isolated blocks stay the same to the bit."
    )
    traits = MeasureTraits(frozenset({"handle", "inputs", "targets"}), before_training=True)
    columns = (Column("isolated", "isolated", "whether no block's update depends on later blocks"),)
    block_columns = (
        Column(
            "change",
            "largest change",
            "change of the block's gradient, relative to its norm, when later weights change",
            form=".2g",
        ),
    )

    def run(self, subject: Subject) -> Figures:
        """Return whether all blocks are isolated, and what each one's update depends on."""
        handle = given(subject.handle, "a handle")
        if len(_running(handle)) < 2:
            return Figures(
                values={"isolated": None},
                words="There is only one block, so there is nothing to isolate.",
            )
        inputs, targets = given(subject.inputs, "inputs"), given(subject.targets, "targets")
        found = isolation(handle, *_first(inputs, targets))
        return Figures(
            values={"isolated": found.isolated if found.taught else None},
            blocks={
                "change": {
                    name: max(_known([row]), default=None)
                    for name, row in zip(found.blocks, found.changes, strict=True)
                }
            },
            notes={name: found.of_block(k) for k, name in enumerate(found.blocks)},
            words=found.verdict,
            details={
                "changes": [list(row) for row in found.changes],
                "backprop": [list(row) for row in found.backprop],
                "crossings": list(found.crossings),
            },
        )

    def contradictions(self, subject: Subject, figures: Figures) -> Iterator[str]:
        """Blocks whose graph ends are isolated; blocks that a gradient passes through are not."""
        rules = [block.rule for block in _running(given(subject.handle, "a handle"))]
        isolated = figures.values["isolated"]
        if not rules[:-1] or any(rule.traits.whole_model for rule in rules):
            return  # such a rule may have either answer
        if not any(rule.traits.learns for rule in rules[:-1]):
            if isolated is not None:
                yield f"hidden blocks are frozen, and isolated is {isolated}"
        elif all(r.traits.ends_graph and "sent_back" not in r.traits.needs for r in rules[:-1]):
            if isolated is not True:
                yield f"every hidden block's graph ends, and isolated is {isolated}"
        elif isolated is not False and all(rule.traits.learns for rule in rules[:-1]):
            yield f"a gradient goes from block to block, and isolated is {isolated}"


def _first(inputs: Any, targets: Any) -> tuple[Any, Any]:
    """Return the first samples of a batch, or the batch itself if its tensors have different
    rows.
    """
    found = [*leaves(inputs), *leaves(targets)]
    if any(not each.dim() or len(each) != len(found[0]) for each in found):
        return inputs, targets
    return replaced(inputs, lambda x: x[:SAMPLES]), replaced(targets, lambda x: x[:SAMPLES])


def _running(handle: Attachment) -> list[Block]:
    """Return the blocks that run; parameters without a module have no position in their order."""
    return [block for block in handle.blocks if block.modules]


def _changes(handle: Attachment, batch: Batch) -> Matrix:
    """Return the relative change of each block's gradient for each changed later block."""
    blocks = _running(handle)
    before = _gradients(handle, batch)
    rows: list[list[float | None]] = [[None] * len(before) for _ in before]
    for j, block in enumerate(blocks):
        with _changed_weights([parameter for _, parameter in block.parameters()]):
            after = _gradients(handle, batch)
        for k in range(j):
            rows[k][j] = _relative_change(before[k], after[k])
    return tuple(tuple(row) for row in rows)


def _gradients(handle: Attachment, batch: Batch) -> BlockGradients:
    with untouched(handle.model), torch.enable_grad():
        _, places = batch.outputs_and_places(handle)
        generator = torch.Generator().manual_seed(0)
        errors = [torch.randn(t.shape, generator=generator).to(t) for t in places]
        found = gradients_of_blocks(handle, places, errors)
    pairs = zip(handle.blocks, found, strict=True)
    return [gradients for block, gradients in pairs if block.modules]


@contextmanager
def _changed_weights(parameters: Sequence[nn.Parameter]) -> Iterator[None]:
    """Replace the weights of a block inside the context; its own are stored, never written to."""
    generator = torch.Generator().manual_seed(1)
    own = [(parameter, parameter.data) for parameter in parameters]
    try:
        for parameter, data in own:
            noise = torch.randn(data.shape, generator=generator).to(data)
            parameter.data = data + noise * (data.abs().mean() or 1.0)
        yield
    finally:
        for parameter, data in own:
            parameter.data = data


def _relative_change(
    before: Sequence[Tensor | None], after: Sequence[Tensor | None]
) -> float | None:
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if b is not None and a is not None]
    if not pairs:
        return None
    change = math.sqrt(sum((a.double() - b.double()).square().sum().item() for b, a in pairs))
    size = math.sqrt(sum(b.double().square().sum().item() for b, _ in pairs))
    return change / size if size else math.inf if change else 0.0


@contextmanager
def _lone_at_rest(handle: Attachment) -> Iterator[None]:
    """Exclude parameters without a module inside the context: their gradients reach no block."""
    lone = [p for b in handle.blocks if not b.modules for _, p in b.parameters() if p.requires_grad]
    for parameter in lone:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in lone:
            parameter.requires_grad_()


def _crossings(handle: Attachment, batch: Batch) -> tuple[str, ...]:
    """Return the blocks through whose input a gradient leaves."""
    crossed: set[str] = set()

    def observe(name: str) -> Any:
        def pre_hook(_module: nn.Module, arguments: Any, keywords: Any) -> None:
            for tensor in leaves((arguments, keywords)):
                if tensor.requires_grad:
                    tensor.register_hook(lambda _gradient: crossed.add(name))

        return pre_hook

    hooks = [
        block.modules[0][1].register_forward_pre_hook(observe(block.name), with_kwargs=True)
        for block in _running(handle)[1:]
    ]
    try:
        with _lone_at_rest(handle):
            _gradients(handle, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(block.name for block in handle.blocks if block.name in crossed)


def _table(blocks: Sequence[str], changes: Sequence[Row]) -> list[str]:
    cells = [["block", *(f"{name} changed" for name in blocks[1:])]]
    cells += [
        [name, *("" if j <= k else _percent(row[j]) for j in range(1, len(blocks)))]
        for k, (name, row) in enumerate(zip(blocks[:-1], changes, strict=False))
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(blocks))]
    return [
        f"  {row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in cells
    ]


def _percent(change: float | None) -> str:
    if change is None:
        return "not taught"
    return "0" if change == 0 else f"{change:.2g}" if change < 1e-4 else f"{change:.1%}"


def _known(rows: Sequence[Row]) -> list[float]:
    return [change for row in rows for change in row if change is not None]
