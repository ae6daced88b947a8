"""The report of what attaching changed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from beyondprop.core import Block
from beyondprop.engine.detach import ByLoss
from beyondprop.engine.passes import Passes
from beyondprop.engine.ports import Ports, behind, learn_before
from beyondprop.projections import Projection
from beyondprop.shapes import CHANNELS, MIXED, TOKENS, UNSURE, positions
from beyondprop.text import aligned, html_table

SEQUENCES = (
    *(nn.Embedding, nn.MultiheadAttention, nn.RNNBase),
    *(nn.Transformer, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer),
)
"""Layers that show that a model has tokens; the output of a linear layer may have none."""

NAMED = 6
"""Maximum number of blocks that a note names."""


@dataclass(frozen=True)
class ReportRow:
    """One block of the report.

    Attributes:
        block: Its name.
        rule: Class name of its rule.
        parameters: Number of its trainable values.
        change: Description of the change.
    """

    block: str
    rule: str
    parameters: int
    change: str


@dataclass(frozen=True)
class AttachReport:
    """The blocks, what was changed, and what was left unchanged and why."""

    model: str
    rows: Sequence[ReportRow]
    notes: Sequence[str] = ()

    @property
    def title(self) -> str:
        """The model's class and its number of blocks."""
        return f"{self.model}: {len(self.rows)} blocks"

    def cells(self) -> list[tuple[str, ...]]:
        """Return the cells of the table, the headings first."""
        head = ("block", "rule", "parameters", "what changed")
        return [head, *((r.block, r.rule, f"{r.parameters:,}", r.change) for r in self.rows)]

    def __str__(self) -> str:
        return "\n".join([self.title, *aligned(self.cells(), right={2}), *self.notes])

    def _repr_html_(self) -> str:
        return html_table(self.title, self.cells(), right={2}, notes=self.notes)


def report(called: str, passes: Passes, changes: Sequence[str], ports: Ports) -> AttachReport:
    """Return the report of an attachment.

    Args:
        called: Name of the model's own class.
        passes: The model, its blocks and the handling of their ends.
        changes: A description of the change of each block.
        ports: Where the error is taken and targets are found.
    """
    model, blocks = passes.model, passes.blocks
    rows = [
        ReportRow(
            block.name,
            type(block.rule).__name__,
            sum(p.numel() for _, p in block.parameters() if p.requires_grad),
            change,
        )
        for block, change in zip(blocks, changes, strict=True)
    ]
    covered = {id(p) for block in blocks for _, p in block.parameters()}
    alone = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in covered]
    notes = [*_port_notes(model, alone, ports, learn_before(blocks)), *_tie_notes(model, blocks)]
    if learned := len(passes.state.parameters()):
        notes.append(
            f"feedback that learns: {learned} additional parameters for the optimizer, "
            "in handle.parameters()"
        )
    ends = passes.taught.items()
    heads = [block for block, end in ends if isinstance(end, ByLoss) and end.state]
    return AttachReport(called, rows, [*notes, *_axes_notes(model, blocks, heads)])


def with_feedback(made: AttachReport, blocks: Sequence[Block]) -> AttachReport:
    """Return the report with the remarks of the rules' projections on their use so far."""
    projections = {
        id(value): value
        for block in blocks
        for value in vars(block.rule).values()
        if isinstance(value, Projection)
    }
    notes = [f"feedback {remark}" for each in projections.values() for remark in each.remarks()]
    return replace(made, notes=[*made.notes, *notes]) if notes else made


def _port_notes(
    model: nn.Module, alone: Sequence[str], ports: Ports, taught: bool
) -> Iterator[str]:
    """Yield where the error is taken, and how parameters in no block are trained.

    Args:
        model: The model.
        alone: Names of the parameters that are in no block.
        ports: Where the error is taken.
        taught: Whether blocks before the output learn.
    """
    if ports.output is None:
        if alone:
            yield f"in no block, so left with their plain gradient: {', '.join(alone)}"
    else:
        yield f"the error is taken at the output of {ports.output.name}"
        later = set(behind(model, ports.output))
        after = [name for name in alone if name.rpartition(".")[0] in later]
        before = [name for name in alone if name not in after]
        if before:
            yield (
                f"in no block, so taught with the blocks that follow: {', '.join(before)}"
                if taught
                else f"in no block, and nothing before the output learns: {', '.join(before)}"
            )
        if after:
            yield f"after that output, with their exact gradient: {', '.join(after)}"
    labels = None if ports.arguments is None else ports.arguments.labels
    if labels is not None:
        shift = labels.shift
        ahead = f", {shift} token{'s' if shift > 1 else ''} ahead" if shift else ""
        yield f"targets are the model's argument {labels.name}{ahead}"


def _tie_notes(model: nn.Module, blocks: Sequence[Block]) -> Iterator[str]:
    """Yield the tied parameters that keep `Backprop` everywhere."""
    if not any(block.rule.traits.ends_graph for block in blocks):
        return
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    inner = {id(p) for b in blocks if b.rule.traits.ends_graph for _, p in b.parameters()}
    tied = [" = ".join(found) for p, found in names.items() if len(found) > 1 and p not in inner]
    if tied:
        yield f"tied, so they keep Backprop() everywhere: {', '.join(tied)}"


def _axes_notes(
    model: nn.Module, blocks: Sequence[Block], heads: Collection[Block]
) -> Iterator[str]:
    """Yield how the axes of outputs with positions are read, and how heads treat tokens."""
    sequences = any(isinstance(module, SEQUENCES) for module in model.modules())
    taught = [b for b in blocks if b.rule.traits.ends_graph and b.rule.traits.learns]
    read: dict[str, list[Block]] = {}
    for block in taught:
        tokens = sequences and block.axes == TOKENS
        said = block.axes.words == CHANNELS.words or not block.axes.plain
        if block.axes not in (UNSURE, MIXED) and (tokens or said):
            read.setdefault(block.axes.words, []).append(block)
    if read:
        words = "; ".join(f"{_names(found)} {axes}" for axes, found in read.items())
        yield f"axes, if an output has that many: {words}"
    unsure = [b for b in (*taught, *blocks[-1:]) if b.axes == UNSURE] if taught else []
    if unsure:
        yield (
            "order of batch and tokens unknown, so axes= must state it if these return three or "
            f"more axes: {_names(list(dict.fromkeys(unsure)))}"
        )
    named = (block for found in read.values() for block in found)
    pooling = [block for block in named if block in heads and "tokens" in positions(block.axes)]
    if pooling:
        yield (
            f"tokens: the heads of {_names(pooling)} average them, or read each one if each has "
            "its own target"
        )


def _names(blocks: Sequence[Block]) -> str:
    more = f" and {len(blocks) - NAMED} more" if len(blocks) > NAMED else ""
    return ", ".join(block.name for block in blocks[:NAMED]) + more
