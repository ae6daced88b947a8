"""What measures read from a model's blocks: their gradients and their outputs.

This file contains all code of the measures that depends on the engine.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.blocks import blocks_ended
from beyondprop.engine.untouched import device_of, untouched
from beyondprop.errors import UserError
from beyondprop.models.goodness import GoodnessNetwork
from beyondprop.shapes import Axes, pooled, samples_first
from beyondprop.tasks import Samples, call, taught
from beyondprop.tasks.samples import moved

BlockGradients = list[list[Tensor | None]]
"""For each block the gradients of `Block.parameters`, in their order; None if not trained."""

FEATURES = 2048
"""Maximum number of features per sample up to which maps are not pooled."""


@dataclass(frozen=True, eq=False)
class Batch:
    """The arguments of a model call, and the targets of the batch."""

    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]
    targets: Any

    def outputs(self, handle: Attachment) -> Any:
        """Return the model's outputs; its rules receive the targets."""
        with nullcontext() if self.targets is None else taught(handle, self.targets):
            return handle.model(*self.inputs, **self.keywords)

    def outputs_and_places(self, handle: Attachment) -> tuple[Any, list[Tensor]]:
        """Return the model's outputs, and the tensors at which the error is taken.

        These are the outputs of the module that ``output=`` names, otherwise the model's own
        outputs.
        """
        output, taken = handle.passes.output, []

        def take(_module: nn.Module, _inputs: Any, outputs: Any) -> None:
            if not runs_apart(handle):
                taken.append(outputs)

        hook = None if output is None else output.module.register_forward_hook(take)
        try:
            outputs = self.outputs(handle)
        finally:
            if hook is not None:
                hook.remove()
        places = leaves(outputs if output is None else taken)
        return outputs, [tensor for tensor in places if tensor.is_floating_point()]


def runs_apart(handle: Attachment) -> bool:
    """Whether a rule is currently running modules on its own, outside of the model's own pass."""
    open_pass = handle.passes.current.open_pass
    return open_pass is not None and open_pass.run.apart


def gradients_of_blocks(
    handle: Attachment, roots: Sequence[Tensor], errors: Sequence[Tensor | None]
) -> BlockGradients:
    """Run the backward pass from ``roots`` and return the gradients of each block's parameters.

    No ``.grad`` is changed.

    Args:
        handle: The attachment.
        roots: Where the backward pass starts: losses or outputs.
        errors: The gradient with respect to each root; None means 1 for a scalar.
    """
    blocks = [[parameter for _, parameter in block.parameters()] for block in handle.blocks]
    learning = list({id(p): p for block in blocks for p in block if p.requires_grad}.values())
    starts = [(root, error) for root, error in zip(roots, errors, strict=True) if root.grad_fn]
    if not learning or not starts:
        return [[None] * len(block) for block in blocks]
    found = torch.autograd.grad(
        [root for root, _ in starts], learning, [error for _, error in starts], allow_unused=True
    )
    gradient = dict(zip(map(id, learning), found, strict=True))
    return [[gradient.get(id(parameter)) for parameter in block] for block in blocks]


def block_outputs(handle: Attachment, samples: Samples, batch_size: int) -> dict[str, Tensor]:
    """Return each block's output as features, see `features_of`; for a tuple the first
    floating-point tensor.

    The model runs once over all samples, in eval mode and without gradients, and is left unchanged.
    All features are held in memory: at most about 8 KiB per sample for each block that returns
    maps.

    Args:
        handle: The result of `attach`.
        samples: Inputs of the model; moved to its device batch by batch.
        batch_size: Samples per batch.

    Returns:
        Block name to features ``(n, features)``, float32, on the model's device, in the order of
        the blocks. Blocks that consist of parameters alone have no output and are left out. If a
        block runs several times in a pass, its last output is used.

    Raises:
        UserError: A block did not run, or did not return a floating-point tensor with one row per
            sample.
    """
    names = [block.name for block in handle.blocks if block.modules]
    device = device_of(handle.model, samples.device)
    parts = []
    with untouched(handle.model), torch.no_grad():
        handle.model.eval()
        for begin in range(0, len(samples), batch_size):
            rows = slice(begin, min(begin + batch_size, len(samples)))
            inputs, _ = samples.batch(rows)
            with _observed(handle, rows.stop - begin) as found:
                call(handle.model, moved(inputs, device))
            for name in names:
                if name not in found:
                    raise UserError(f"block '{name}' did not run, so it has no output to look at")
            parts.append(found)
    return {name: torch.cat([part.pop(name) for part in parts]) for name in names}


def features_of(values: Tensor, axes: Axes) -> Tensor:
    """Return one row of features for each sample.

    Tokens are averaged. Maps are reduced by adaptive average pooling to at most 2048 features, but
    at least one per channel. Everything else is used in full.

    Args:
        values: ``(n, ...)`` of any dtype except complex ones.
        axes: The meaning of the axes.

    Returns:
        Shape ``(n, features)``, float32; may share memory with ``values``.
    """
    return pooled(values.float(), axes, FEATURES)


@contextmanager
def _observed(handle: Attachment, samples: int) -> Iterator[dict[str, Tensor]]:
    """Collect the features of every block that runs inside the context, in the model's own pass."""
    found: dict[str, Tensor] = {}
    called: Counter[nn.Module] = Counter()
    ended = blocks_ended(handle.blocks)

    def observe(module: nn.Module, _inputs: Any, outputs: Any) -> None:
        block = ended[module][called[module] % len(ended[module])]
        called[module] += 1
        if block is not None:
            rows, axes = _rows(handle, block, outputs, samples)
            # Cloned, because later operations may work in place.
            found[block.name] = features_of(rows, axes).clone()

    hooks = [module.register_forward_hook(observe) for module in ended]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _rows(handle: Attachment, block: Block, outputs: Any, samples: int) -> tuple[Tensor, Axes]:
    """Return the first floating-point tensor of a block's output, samples first, and its axes."""
    name = block.name
    tensor = next((t for t in leaves(outputs) if t.is_floating_point()), None)
    if tensor is None:
        raise UserError(f"block '{name}' returns no floating-point tensor")
    tensor, axes = samples_first(tensor, block.axes, samples)
    if isinstance(handle.model, GoodnessNetwork):  # one row per class: concatenate them
        tensor = tensor.reshape(samples, -1)
    if tensor.shape[:1] != (samples,):
        raise UserError(
            f"block '{name}' returns {tuple(tensor.shape)} for {samples} samples: "
            "the first dimension must be the samples"
        )
    return tensor, axes
