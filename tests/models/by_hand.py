"""Direct feedback alignment of the models by hand: hooks that cut, and nothing else."""

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

import beyondprop as bp
from benchmarks.models.case import Case
from benchmarks.models.trial import gradients

Signal = Callable[[Tensor, Tensor, torch.Size, Case], Tensor]
"""(error, feedback matrix, shape of the block's output, case) -> the block's signal."""


def alike(e: Tensor, b: Tensor, _shape: torch.Size, _case: Case) -> Tensor:
    """Token by token, node by node, row by row."""
    return e @ b


def spread(e: Tensor, b: Tensor, shape: torch.Size, _case: Case) -> Tensor:
    """One error a sample, (batch, classes): all its tokens get the same signal."""
    return (e @ b)[:, None].expand(shape)


def source(e: Tensor, b: Tensor, shape: torch.Size, _case: Case) -> Tensor:
    """Errors of the target's tokens, summed for each token of the source."""
    return (e.sum(1) @ b)[:, None].expand(shape)


def source_first(e: Tensor, b: Tensor, shape: torch.Size, _case: Case) -> Tensor:
    """The same where tokens come before the batch."""
    return (e.sum(0) @ b).expand(shape)


def points(e: Tensor, b: Tensor, shape: torch.Size, _case: Case) -> Tensor:
    """One error a ray, (rays, colours); the block has (rays · points, features)."""
    return (e @ b).repeat_interleave(shape[0] // len(e), 0)


def pixels(e: Tensor, b: Tensor, shape: torch.Size, _case: Case) -> Tensor:
    """Pixel by pixel; a coarser pixel gets the sum of the errors of its patch."""
    side = e.shape[-1] // shape[-1]
    patches = F.avg_pool2d(e, side) * side**2  # (batch, classes, height, width)
    return torch.einsum("bchw,cf->bfhw", patches, b)


def one(e: Tensor, b: Tensor, shape: torch.Size, _case: Case) -> Tensor:
    """One number a sample, (batch,)."""
    made = e[:, None] @ b  # (batch, features)
    return (made[:, None] if len(shape) == 3 else made).expand(shape)


def nodes(e: Tensor, b: Tensor, _shape: torch.Size, case: Case) -> Tensor:
    """One error a graph, which all its nodes get."""
    return (e @ b)[case.batch().inputs["batch"]]


SIGNALS: dict[str, Signal | dict[str, Signal]] = {
    "nn.Transformer, tokens first": {"*encoder*": source_first, "*decoder*": alike},
    "MLP-Mixer": spread,
    "U-Net": pixels,
    "NeRF": points,
    "DeepFM": one,
    "Deep & Cross": one,
    "BERT, classes": spread,
    "BERT, error at the pooler": spread,
    "ViT": spread,
    "CLIP, its images": spread,
    "T5": {"encoder*": source, "decoder*": alike},
    "Whisper": {"*encoder*": source, "*decoder*": alike},
    "GIN, pooled graphs": nodes,
    "vit-pytorch": spread,
}
"""How the error reaches a model's blocks, where it isn't `alike`."""

ENDS = {"mlp.0": "mlp.3", "mlp.4": "mlp.7"}
"""Where a block ends that norms and activations of a chain join."""


def blocks(case: Case, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the names of a model's blocks, and the modules at whose outputs they end."""
    found = [
        name
        for name, _ in part.named_modules()
        if any(fnmatchcase(name, pattern) for pattern in case.blocks)
    ]
    for name in found:
        if not any(name.startswith(f"{other}.") for other in found):
            yield name, part.get_submodule(ENDS.get(name, name))


def signal_of(case: Case, name: str) -> Signal:
    """Return how the error reaches a block."""
    found = SIGNALS.get(case.name, alike)
    if callable(found):
        return found
    return next(signal for pattern, signal in found.items() if fnmatchcase(name, pattern))


def by_hand(
    case: Case, rule: bp.DirectFeedbackAlignment, ends_at: Iterable[str] | None = None
) -> dict[str, Tensor]:
    """Return what direct feedback alignment teaches, by hooks that cut and nothing else.

    Args:
        case: The model.
        rule: Whose projection is used.
        ends_at: Names of the modules that end blocks; by default the blocks of the case.
    """
    model, batch = case.model(), case.batch()
    part, ends = case.taught(model), []
    taken: dict[str, Tensor] = {}

    def cut(name: str) -> Callable[..., object]:
        def hook(_module: object, _inputs: object, out: Tensor | tuple[object, ...]) -> object:
            ends.append((name, out[0] if isinstance(out, tuple) else out))
            return tree_map_only(Tensor, Tensor.detach, out)

        return hook

    def take(_module: object, _inputs: object, out: Tensor) -> Tensor:
        taken["made"], taken["leaf"] = out, out.detach().requires_grad_()
        return taken["leaf"]

    found = blocks(case, part)
    if ends_at is not None:
        found = ((name, part.get_submodule(name)) for name in ends_at)
    for name, end in found:
        end.register_forward_hook(cut(name))
    (part if case.output is None else part.get_submodule(case.output)).register_forward_hook(take)
    case.loss_of(model, batch).backward()
    error = taken["leaf"].grad
    taken["made"].backward(error, retain_graph=True)  # a residual path around the blocks
    for name, out in ends:
        block = bp.core.Block(name, rule, (), part)
        width = out.shape[1 if case.name == "U-Net" else -1]
        eye = torch.eye(1 if error.dim() == 1 else error.shape[1 if error.dim() == 4 else -1])
        feedback = rule.projection.project(eye, width, rule.projection.stream(block.stream))
        signal = signal_of(case, name)(error, feedback, out.shape, case)
        out.backward(signal, retain_graph=True)
    return gradients(part)
