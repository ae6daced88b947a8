"""Parts that candidates share: replacing layers in a copy of the piece, and checking the result."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from beyondprop._torch.modules import is_made
from beyondprop._torch.pytrees import leaves
from beyondprop.errors import UserError, one_line
from beyondprop.neighbourhoods.calls import Call, copied
from beyondprop.registry.limits import Limits

Seed = Annotated[int, Limits(0, 2**63 - 1)]
"""The seed of a candidate's random numbers."""


def free(module: nn.Module) -> dict[str, nn.Module]:
    """Return the inner modules whose own weights can be pruned, by name; each module once.

    It leaves out modules that share a weight with another module, whose weight is computed from
    other parameters (as by `weight_norm`), or whose weights are not floating-point numbers.
    """
    owners = Counter(
        id(parameter) for inner in module.modules() for parameter in inner.parameters(recurse=False)
    )
    return {
        name: inner
        for name, inner in module.named_modules()
        if not is_made(inner)
        and all(
            owners[id(parameter)] == 1 and parameter.is_floating_point()
            for parameter in inner.parameters(recurse=False)
        )
    }


def exchanged(
    student: nn.Module, change: Callable[[nn.Module], nn.Module | None]
) -> tuple[nn.Module, int]:
    """Return a student with some of its modules replaced, and the number of replacements.

    Args:
        student: Changed in place, unless it is itself replaced.
        change: Returns a module's replacement, or None to keep it. It is called once for each
            module whose weights can be pruned, but not within replaced modules.
    """
    made: dict[int, nn.Module] = {}
    inside: set[int] = set()
    for module in free(student).values():
        found = None if id(module) in inside else change(module)
        if found is not None:
            made[id(module)] = found.train(module.training)
            inside |= {id(inner) for inner in module.modules()}
    if id(student) in made:
        return made[id(student)], 1
    places = [
        (name, made[id(module)])
        for name, module in student.named_modules(remove_duplicate=False)
        if id(module) in made
    ]
    for name, new in places:
        student.set_submodule(name, new, strict=True)
    unfuse(student)
    return student, len(made)


def unfuse(student: nn.Module) -> None:
    """Make PyTorch's transformers call their layers even when gradients are disabled.

    Otherwise they read the weights of their layers by name and pass them to a fused kernel.
    """
    for module in student.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            module.activation_relu_or_gelu = 0
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False


def fitting(name: str, student: nn.Module, call: Call) -> nn.Module:
    """Return a student after checking that its output has the form of the piece's output.

    Args:
        name: The name of the candidate.
        student: The student, in eval mode.
        call: One call of the piece.

    Raises:
        UserError: The student fails when it is called, or its output has another form.
    """
    try:
        given = answer(student, call)
    except Exception as error:  # the piece's code may do anything with a replaced layer
        raise UserError(
            f"'{name}' cannot be built from this {type(student).__name__}: its own code relies on "
            f"what was replaced ({one_line(error, 200)})"
        ) from error
    wanted, found = ([_form(each) for each in leaves(value)] for value in (call.output, given))
    if wanted != found:
        raise UserError(
            f"'{name}' cannot be built from this {type(student).__name__}: it would return "
            f"{_words(found)}, not {_words(wanted)}"
        )
    return student


def answer(module: nn.Module, call: Call) -> Any:
    """Return a module's output for copies of a call's inputs, without gradients."""
    arguments, keywords = copied((call.arguments, dict(call.keywords)))
    with torch.no_grad():
        return module(*arguments, **keywords)


def like(new: Tensor, old: Tensor) -> Tensor:
    """Return a tensor with the dtype, device and memory format of another."""
    made = new.to(old.device, old.dtype)
    last = old.dim() == new.dim() == 4 and old.is_contiguous(memory_format=torch.channels_last)
    if last and not old.is_contiguous():
        return made.contiguous(memory_format=torch.channels_last)
    return made.contiguous()


def written(
    layer: nn.Module, like_layer: nn.Module, weight: Tensor, offset: object = None
) -> nn.Module:
    """Return a new layer with a weight and an optional bias, in the dtype of another layer's."""
    old = like_layer.get_parameter("weight")
    for name, value in (("weight", weight), ("bias", offset)):
        if isinstance(value, Tensor):
            new = nn.Parameter(like(value.detach().clone(), old), old.requires_grad)
            layer.register_parameter(name, new)
    return layer.train(like_layer.training)


def _form(tensor: Tensor) -> tuple[tuple[int, ...], torch.dtype]:
    return tuple(tensor.shape), tensor.dtype


def _words(forms: list[tuple[tuple[int, ...], torch.dtype]]) -> str:
    return ", ".join(f"{shape} of {kind}" for shape, kind in forms) or "no tensor"
