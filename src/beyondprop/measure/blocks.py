"""What measures read of a model's blocks: the gradients they get, and what they put out.

All that a measure must know of the engine is in this file.
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
"""For each block the gradients of `Block.parameters`, in their order; None where not taught."""

FEATURES = 2048
"""Features a sample up to which maps are kept as they are."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What a model is called with, and the targets that go with it."""

    inputs: tuple[Any, ...]
    keywords: Mapping[str, Any]
    targets: Any

    def outputs(self, handle: Attachment) -> Any:
        """Return what the model makes of it; its rules see the targets."""
        with nullcontext() if self.targets is None else taught(handle, self.targets):
            return handle.model(*self.inputs, **self.keywords)

    def outputs_and_places(self, handle: Attachment) -> tuple[Any, list[Tensor]]:
        """Return what the model makes of it, and the tensors where the error is taken.

        These are what the module that ``output=`` names returned, else the model's own outputs.
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
    """Whether a rule runs modules by themselves just now, outside of the model's own pass."""
    open_pass = handle.passes.current.open_pass
    return open_pass is not None and open_pass.run.apart


def gradients_of_blocks(
    handle: Attachment, roots: Sequence[Tensor], errors: Sequence[Tensor | None]
) -> BlockGradients:
    """Run the backward pass from ``roots`` and return what reaches each block's parameters.

    No ``.grad`` is touched.

    Args:
        handle: What is attached.
        roots: Where the backward pass starts: losses or outputs.
        errors: The gradient with respect to each root; None for a scalar means 1.
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
    """Return what each block puts out, see `features_of`; of a tuple the first floating tensor.

    The model runs in eval mode and without gradients, once over all samples, and is left as it was
    found. All of it is held at once: at most about 8 KiB a sample for each block that puts out
    maps.

    Args:
        handle: What `attach` returned.
        samples: What the model is run on; moved to its device batch by batch.
        batch_size: Samples at a time.

    Returns:
        Block name to features ``(n, features)``, float32, on the model's device, in the order of
        the blocks. Blocks that are parameters alone put out nothing and are left out. Of a block
        that runs several times in a pass, it is the last time's.

    Raises:
        UserError: A block did not run, or put out no floating tensor with a row for each sample.
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
    """Return a row of features for each sample.

    Of tokens it is the mean over tokens. Maps are adaptively average-pooled to at most 2048
    features, but to one a channel at the least. All else is taken whole.

    Args:
        values: ``(n, ...)`` of any dtype but complex ones.
        axes: What the axes mean.

    Returns:
        Shape ``(n, features)``, float32; may share memory with ``values``.
    """
    return pooled(values.float(), axes, FEATURES)


@contextmanager
def _observed(handle: Attachment, samples: int) -> Iterator[dict[str, Tensor]]:
    """Collect the features of every block that runs inside, in a forward pass of the model."""
    found: dict[str, Tensor] = {}
    called: Counter[nn.Module] = Counter()
    ended = blocks_ended(handle.blocks)

    def observe(module: nn.Module, _inputs: Any, outputs: Any) -> None:
        block = ended[module][called[module] % len(ended[module])]
        called[module] += 1
        if block is not None:
            rows, axes = _rows(handle, block, outputs, samples)
            # Cloned, as what comes next may work in place.
            found[block.name] = features_of(rows, axes).clone()

    hooks = [module.register_forward_hook(observe) for module in ended]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _rows(handle: Attachment, block: Block, outputs: Any, samples: int) -> tuple[Tensor, Axes]:
    """Return the first floating tensor of a block's output, samples first, and its axes."""
    name = block.name
    tensor = next((t for t in leaves(outputs) if t.is_floating_point()), None)
    if tensor is None:
        raise UserError(f"block '{name}' puts out no floating tensor")
    tensor, axes = samples_first(tensor, block.axes, samples)
    if isinstance(handle.model, GoodnessNetwork):  # a row for each class: side by side
        tensor = tensor.reshape(samples, -1)
    if tensor.shape[:1] != (samples,):
        raise UserError(
            f"block '{name}' puts out {tuple(tensor.shape)} for {samples} samples: "
            "the first dimension must be that of the samples"
        )
    return tensor, axes
