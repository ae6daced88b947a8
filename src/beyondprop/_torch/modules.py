"""Modules by their names, and chains of modules."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def is_chain(module: nn.Module) -> bool:
    """Whether the module calls its children one after another, each on the last one's output."""
    plain = type(module).forward is nn.Sequential.forward and "forward" not in vars(module)
    return isinstance(module, nn.Sequential) and plain


def children(module: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Return a module's children with their full names, including repeated ones."""
    direct = [
        (name, child)
        for name, child in module.named_modules(remove_duplicate=False)
        if name and "." not in name
    ]
    return [(f"{prefix}.{name}" if prefix else name, child) for name, child in direct]


def has_parameters(module: nn.Module) -> bool:
    """Whether the module holds any parameter."""
    return any(True for _ in module.parameters())


def is_made(module: nn.Module, name: str = "weight") -> bool:
    """Return whether a layer's weight is computed from other parameters (weight_norm, pruning).

    The function does not access the weight: spectral norm takes a step of its iteration at each
    access.
    """
    by_class = isinstance(getattr(type(module), name, None), property)
    return by_class or isinstance(vars(module).get(name), Tensor)


@contextmanager
def resting(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode inside the context, where parametrizations take no steps."""
    modes = [(inner, inner.training) for inner in module.modules()]
    for inner, _ in modes:
        inner.training = False
    try:
        yield
    finally:
        for inner, training in modes:
            inner.training = training


def learning_copy(module: nn.Module) -> nn.Module:
    """Return a copy that shares no memory with the module, without gradients.

    If the module has no trainable parameter, for example after `requires_grad_(False)`, all
    parameters of the copy are trainable; otherwise frozen parameters stay frozen.
    """
    made = copy.deepcopy(module)
    frozen = not any(parameter.requires_grad for parameter in made.parameters())
    for parameter in made.parameters():
        parameter.grad = None
        if frozen and (parameter.is_floating_point() or parameter.is_complex()):
            parameter.requires_grad_()
    return made


def inside(name: str, outer: str) -> bool:
    """Whether a dotted name is the outer one or is inside it."""
    return name == outer or name.startswith(f"{outer}.")


def submodules_of(modules: Iterable[tuple[str, nn.Module]]) -> Iterator[tuple[str, nn.Module]]:
    """Yield named modules and all modules within them, by their full names."""
    for name, module in modules:
        for inner, submodule in module.named_modules():
            yield f"{name}.{inner}" if inner else name, submodule


def parameters_of(
    modules: Iterable[tuple[str, nn.Module]], owner: nn.Module, loose: Iterable[str]
) -> list[tuple[str, nn.Parameter]]:
    """Return the parameters of named modules, and of a model by name, each once."""
    found = {
        f"{name}.{inner}": parameter
        for name, module in modules
        for inner, parameter in module.named_parameters()
    }
    found |= {name: owner.get_parameter(name) for name in loose}
    return list({id(p): (name, p) for name, p in reversed(found.items())}.values())[::-1]
