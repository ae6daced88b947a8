"""Tensors inside the nested containers that modules return.

The functions search tuples (including named ones and PyTorch's own, such as that of `torch.max`),
lists, mappings and dataclasses, and classes derived from them. Other objects, such as sets, attrs
classes and other attributes of a container, are left unchanged.
"""

from collections import UserDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from beyondprop._torch.eager import eager
from beyondprop.errors import UserError, one_line


def leaves(value: Any) -> Iterator[Tensor]:
    """Yield each tensor in tensors, tuples, lists, mappings and dataclasses once, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        yield from {id(tensor): tensor for tensor in _all(value)}.values()


def _all(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in order, with repetitions."""
    if isinstance(value, Tensor):
        yield value
    else:
        for item in _entries(value).values():
            yield from _all(item)


def others(value: Any) -> Iterator[Any]:
    """Yield the objects that are neither tensors nor searched containers, in order."""
    if isinstance(value, (tuple, list, Mapping)) or _is_dataclass(value):
        for item in _entries(value).values():
            yield from others(item)
    elif not isinstance(value, Tensor):
        yield value


def form(value: Any) -> str:
    """Return the structure of a value as text: containers with their keys, tensors as dtype and
    shape, other objects as their class.
    """
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    inner = {str(key): form(item) for key, item in _entries(value).items()}
    if not inner:
        return type(value).__name__
    named = not isinstance(value, (tuple, list))
    told = [f"{key}: {inner[key]}" for key in sorted(inner)] if named else inner.values()
    return f"{type(value).__name__}({', '.join(told)})"


def replaced(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return ``value`` with ``function`` applied to each of its tensors, once to each.

    A container in which no tensor changes is returned itself. Other containers are copied with
    their type and their other attributes, without a call of the constructor or ``__post_init__``;
    only a mapping that is neither a `dict` nor a `UserDict` is constructed from a `dict`.

    Raises:
        UserError: A container cannot be copied.
    """
    if isinstance(value, Tensor):
        return function(value)
    made: dict[int, Tensor] = {}

    def once(tensor: Tensor) -> Tensor:
        if id(tensor) not in made:
            made[id(tensor)] = function(tensor)
        return made[id(tensor)]

    return _replaced(value, once)


def _replaced(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    entries = _entries(value)
    items = {key: _replaced(item, function) for key, item in entries.items()}
    changed = {key: item for key, item in items.items() if item is not entries[key]}
    if not changed:
        return value
    kind: Any = type(value)
    if kind is dict:
        return items
    if kind in (tuple, list):
        return kind(items.values())
    if kind.__bases__ == (tuple,) and hasattr(kind, "_fields"):
        return kind(*items.values())
    return _copied(value, items, changed)


def _entries(value: Any) -> dict[Any, Any]:
    """Return a container's items by index, key or field; an empty mapping for other objects."""
    if isinstance(value, (tuple, list)):
        return dict(enumerate(value))
    if not _is_dataclass(value):
        return dict(value.items()) if isinstance(value, Mapping) else {}
    found = {name: getattr(value, name) for name in _names(value) if hasattr(value, name)}
    both = isinstance(value, dict)  # the same tensors, by field and by key
    return found | dict(value.items()) if both else found


def _is_dataclass(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, (type, tuple, list))


def _names(value: Any) -> list[str]:
    return [field.name for field in fields(value)] if _is_dataclass(value) else []


@eager
def _copied(value: Any, items: dict[Any, Any], changed: dict[Any, Any]) -> Any:
    """Return a container of the same class; ``changed`` has the new ones of its items.

    Raises:
        UserError: Its class does not allow it.
    """
    try:
        if isinstance(value, tuple):
            return _tuple(value, items.values())
        if _is_dataclass(value) or isinstance(value, (list, dict, UserDict)):
            return _with(value, changed)
        return type(value)(items)
    except Exception as error:  # a class may raise anything when it is copied or constructed
        name = type(value).__name__
        raise UserError(
            f"a module returns a {name}, which cannot be copied with other tensors in it "
            f"({one_line(error)}): return a dict, a tuple or a dataclass"
        ) from error


def _tuple(value: tuple[Any, ...], items: Iterable[Any]) -> Any:
    """Return a tuple of the same class, whose constructor may have any arguments."""
    kind: Any = type(value)
    if hasattr(kind, "n_sequence_fields"):  # PyTorch's own take items and have no attributes
        return kind(items)
    made: Any = tuple.__new__(kind, items)
    if hasattr(value, "__dict__"):
        made.__dict__.update(value.__dict__)
    return made


def _with(value: Any, changed: Mapping[Any, Any]) -> Any:
    """Return a copy of a list, a dictionary or a dataclass with some of its items changed."""
    made, names = copy(value), _names(value)
    if getattr(value, "__dict__", None) is value:  # a dictionary whose attributes are its items
        made.__dict__ = made
    for key, item in changed.items():
        if key in names:
            object.__setattr__(made, key, item)  # works for frozen dataclasses too
        if key not in names or (isinstance(value, dict) and key in value):
            made[key] = item
    return made
