"""Tensors inside the nested containers that modules return."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor


def leaves(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in tensors, tuples, lists, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for item in _items(value):
            yield from leaves(item)


def replaced(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return ``value`` with ``function`` applied to each of its tensors, containers kept."""
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, type):
        names = [f.name for f in fields(value) if f.init]
        return replace(value, **{n: replaced(getattr(value, n), function) for n in names})
    if isinstance(value, Mapping):
        pairs = [(key, replaced(item, function)) for key, item in value.items()]
        return _like(value, pairs)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(replaced(item, function) for item in value))
    if isinstance(value, (tuple, list)):
        return type(value)(replaced(item, function) for item in value)
    return value


def _items(value: Any) -> Iterator[Any]:
    if is_dataclass(value) and not isinstance(value, type):
        yield from (getattr(value, f.name) for f in fields(value) if f.init)
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, (tuple, list)):
        yield from value


def _like(mapping: Mapping[Any, Any], pairs: list[tuple[Any, Any]]) -> Any:
    build: Any = type(mapping)
    return build(pairs) if not hasattr(mapping, "default_factory") else dict(pairs)
