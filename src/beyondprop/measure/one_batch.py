"""One batch through an attached model, before any training: what runs, and what trains it."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.blocks import blocks_ended
from beyondprop.engine.graph import never_called
from beyondprop.engine.untouched import untouched, weights_kept
from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.measure.blocks import Batch, BlockGradients, gradients_of_blocks, runs_apart
from beyondprop.measure.feedback import matrices
from beyondprop.measure.isolation import isolation_on
from beyondprop.measure.one_batch_report import BatchReport, BatchRow
from beyondprop.shapes import features_last

Loss = Callable[[Any, Any], Tensor]

NONE, ZEROS, EXACT, OWN = "none", "zeros", "exact", "the rule's"
"""The possible kinds of a parameter's gradient."""


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


def check_batch(
    handle: Attachment,
    *inputs: Any,
    targets: Tensor | None = None,
    loss: Loss | None = None,
    **keywords: Any,
) -> BatchReport:
    """Run one batch forward and backward, and report how each block is trained; ``print`` it.

    Nothing is learned or changed: weights, their ``.grad``, buffers, modes, learned feedback and
    random generators stay as before.

    Cost: two forward and backward passes, and about four for each block for its isolation.

    Args:
        handle: The result of `attach`.
        inputs: Positional arguments of the model.
        targets: Targets of the batch, for the loss and for rules that need them.
        loss: (outputs, targets) to one number. By default cross-entropy if the targets are whole
            numbers, otherwise the mean squared error; without targets the loss that the model
            returns, otherwise the mean square of the outputs.
        keywords: Keyword arguments of the model.

    Raises:
        UserError: The batch cannot be run, or the rules cannot use it for training.
    """
    return check_called(handle, Batch(inputs, keywords, targets), loss)


def check_called(handle: Attachment, batch: Batch, loss: Loss | None = None) -> BatchReport:
    """Return the report of `check_batch` for a batch.

    Raises:
        UserError: The batch cannot be run, or the rules cannot use it for training.
    """
    model = handle.model
    with weights_kept(model):
        for parameter in (*model.parameters(), *handle.parameters()):
            parameter.grad = None  # a pending step's gradient is not ours; it is restored later
        with _faults(batch, model):
            seen, rows = _run(handle, batch, loss)
        return BatchReport(handle.report.model, rows, tuple(_notes(handle, batch, seen)))


@dataclass(eq=False)
class _Seen:
    """Observations of a model's blocks in one pass."""

    calls: Counter[Block] = field(default_factory=Counter)
    outputs: dict[Block, list[Tensor]] = field(default_factory=dict)
    opaque: dict[Block, str] = field(default_factory=dict)  # output types without readable tensors
    deaf: set[nn.Module] = field(default_factory=set)  # layers whose inputs need no gradient
    kinds: dict[str, str] = field(default_factory=dict)  # kinds of gradients, by parameter name


def _run(handle: Attachment, batch: Batch, loss: Loss | None) -> tuple[_Seen, tuple[BatchRow, ...]]:
    taught = _Seen()
    with untouched(handle.model), torch.enable_grad():
        with _watched(handle, taught):
            outputs, places = batch.outputs_and_places(handle)
        found = gradients_of_blocks(handle, [_lost(handle, batch, outputs, loss)], [None])
        made = [t.detach() for t in leaves(outputs) if t.is_floating_point()]
        kept = [
            matrices(handle, block, taught.outputs.get(block, ()), places, taught.deaf)
            for block in handle.blocks
        ]
    own, exact = _pair(handle, batch, loss, made, found)
    for k, block in enumerate(handle.blocks):
        for i, (name, parameter) in enumerate(block.parameters()):
            if parameter.requires_grad:
                taught.kinds[name] = _kind(found[k][i], own[k][i], exact[k][i])
    running = [block for block in handle.blocks if block.modules]
    alone = isolation_on(handle, batch) if len(running) > 1 else None
    rows = []
    for block, held in zip(handle.blocks, kept, strict=True):
        sizes = {n: p.numel() for n, p in block.parameters() if p.requires_grad}
        reached = sum(size for n, size in sizes.items() if taught.kinds[n] != NONE)
        shapes = taught.outputs.get(block, ())
        rows.append(
            BatchRow(
                block=block.name,
                calls=taught.calls[block] if block.modules else None,
                shapes=tuple(tuple(t.shape) for t in shapes),
                axes=block.axes.at(shapes[0]).words if shapes else None,
                feedback=held,
                reached=reached / sum(sizes.values()) if sizes else None,
                gradients=dict(Counter(taught.kinds[name] for name in sizes)),
                isolation=alone.of_block(running.index(block)) if alone and block.modules else None,
            )
        )
    return taught, tuple(rows)


def _pair(
    handle: Attachment,
    batch: Batch,
    loss: Loss | None,
    outputs: Sequence[Tensor],
    found: BlockGradients,
) -> tuple[BlockGradients, BlockGradients]:
    """Return the rule's and the exact gradients of two passes with the same dropout masks.

    A layer with its own backward pass may draw its mask differently from PyTorch's kernels; then
    both passes are compared in eval mode.
    """
    with exact_gradients(handle.model):
        others, exact = _gradients(handle, batch, loss)
    if all(map(_close, outputs, others)):
        return found, exact
    with _evaluated(handle.model):
        own = _gradients(handle, batch, loss)[1]
        with exact_gradients(handle.model):
            return own, _gradients(handle, batch, loss)[1]


def _gradients(
    handle: Attachment, batch: Batch, loss: Loss | None
) -> tuple[list[Tensor], BlockGradients]:
    """Return the outputs of a pass, and the gradients of the blocks."""
    with untouched(handle.model), torch.enable_grad():
        outputs = batch.outputs(handle)
        found = gradients_of_blocks(handle, [_lost(handle, batch, outputs, loss)], [None])
    return [t.detach() for t in leaves(outputs) if t.is_floating_point()], found


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """Put the model in eval mode inside."""
    with untouched(model):
        model.eval()
        yield


def _kind(found: Tensor | None, own: Tensor | None, exact: Tensor | None) -> str:
    """Return the kind of a gradient.

    Args:
        found: The gradient.
        own: The same gradient, or that of another pass if only that pass can be compared.
        exact: The exact gradient for the comparison.
    """
    if found is None:
        return NONE
    if not found.any():
        return ZEROS
    return EXACT if own is not None and exact is not None and _close(own, exact) else OWN


def _close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors differ only by rounding."""
    return a.shape == b.shape and bool(
        (a - b).norm() <= torch.finfo(a.dtype).eps ** 0.5 * max(a.norm(), b.norm())
    )


def _lost(handle: Attachment, batch: Batch, outputs: Any, loss: Loss | None) -> Tensor:
    """Return the loss of the model's outputs.

    Raises:
        UserError: It is not one number, or no loss is given and there are several outputs.
    """
    if loss is not None:
        found = loss(outputs, batch.targets)
        if not isinstance(found, Tensor) or found.dim():
            raise UserError("loss= must return one number, a tensor without axes")
        return found
    floats = [t for t in leaves(outputs) if t.is_floating_point()]
    if not floats:
        raise UserError("the model returns no tensor of floats, so there is nothing to learn from")
    own = next((t for t in floats if not t.dim()), None)
    if batch.targets is None and own is not None:
        return own
    if batch.targets is None:
        return torch.stack([t.square().mean() for t in floats]).sum()
    if len(floats) > 1:
        raise UserError(
            f"the model returns {len(floats)} tensors: give loss=, a function of what it returns "
            "and of the targets"
        )
    output, targets = floats[0], torch.as_tensor(batch.targets).to(floats[0].device)
    if targets.is_floating_point():
        if targets.shape != output.shape:
            raise UserError(
                f"targets of shape {tuple(targets.shape)} do not fit an output of shape "
                f"{tuple(output.shape)}"
            )
        return F.mse_loss(output, targets)
    logits = features_last(output, handle.blocks[-1].axes)
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten())


@contextmanager
def _watched(handle: Attachment, seen: _Seen) -> Iterator[None]:
    """Record which blocks are called inside the context, in the model's own pass, and their
    outputs.
    """
    ended = blocks_ended(handle.blocks)
    called: Counter[nn.Module] = Counter()

    def end(module: nn.Module, _inputs: Any, outputs: Any) -> None:
        if runs_apart(handle):
            return
        block = ended[module][called[module] % len(ended[module])]
        called[module] += 1
        if block is not None:
            seen.calls[block] += 1
            seen.outputs[block] = [t for t in leaves(outputs) if t.is_floating_point()]
            if next(leaves(outputs), None) is None:
                seen.opaque[block] = type(outputs).__name__

    def begin(module: nn.Module, inputs: Any, keywords: Any) -> None:
        if not any(t.requires_grad for t in leaves((inputs, keywords))):
            seen.deaf.add(module)

    hooks = [module.register_forward_hook(end) for module in ended]
    hooks += [
        module.register_forward_pre_hook(begin, with_kwargs=True)
        for module in handle.model.modules()
        if "_feedback" in vars(module)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _faults(batch: Batch, model: nn.Module) -> Iterator[None]:
    """Convert any failure inside the context to one sentence.

    Raises:
        UserError: Something fails.
    """
    try:
        yield
    except UserError:
        raise
    except FAULTS as error:  # the user's model or loss may raise anything
        norms = _norms_of_one(model, batch)
        why = f"; {norms[0]}" if norms else ""
        raise UserError(f"one batch could not be run: {one_line(error)}{why}") from error


def _norms_of_one(model: nn.Module, batch: Batch) -> list[str]:
    """Return a sentence if batch norms would normalise over one sample."""
    first = next(leaves((batch.inputs, batch.keywords)), None)
    if first is None or first.shape[:1] != (1,):
        return []
    norms = [n for n, m in model.named_modules() if isinstance(m, BATCH_NORMS) and m.training]
    if not norms:
        return []
    return [f"BatchNorm needs more than a batch of one ({_named(norms)}): give several samples"]


def _notes(handle: Attachment, batch: Batch, seen: _Seen) -> Iterator[str]:
    yield from _norms_of_one(handle.model, batch)
    for block in handle.blocks:
        if block.modules and not seen.calls[block]:
            names = [name for name, p in block.parameters() if p.requires_grad]
            if any(seen.kinds[name] != NONE for name in names):
                yield f"block '{block.name}' was never called as a whole, though parts of it ran"
            else:
                yield never_called(block)
        if block in seen.opaque:
            yield (
                f"block '{block.name}' returns a {seen.opaque[block]}, which cannot be looked "
                "into: return tensors in tuples, lists, mappings or dataclasses"
            )
    learning = [block for block in handle.blocks if block.rule.traits.learns]
    for kind, said in ((NONE, "no gradient reached"), (ZEROS, "a gradient of zeros reached")):
        if names := _of_kind(learning, seen, kind):
            yield f"{said}: {_named(names)}"
    # The first signal that is sent back, and the last block's error, are gradients in any case.
    ruled = [
        block
        for block in learning
        if not (block.rule.traits.exact or "sent_back" in block.rule.traits.needs)
        and block is not handle.blocks[-1]
    ]
    if names := _of_kind(ruled, seen, EXACT):
        yield f"the gradient is exact, although a rule is attached: {_named(names)}"


def _of_kind(blocks: Sequence[Block], seen: _Seen, kind: str) -> list[str]:
    return [n for block in blocks for n, _ in block.parameters() if seen.kinds.get(n) == kind]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more
