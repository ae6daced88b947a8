"""Arguments as people write them, checked against the parameters of a class or function."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from beyondprop.errors import FAULTS, UserError, one_line, shown
from beyondprop.registry.limits import Limits
from beyondprop.registry.spec import split
from beyondprop.text import did_you_mean

Part = Callable[[Any], Any]
"""Builds an object from a spec."""

PartOf = Callable[[type], Part | None]
"""Returns what builds objects of a type, or None if no registry has that type."""

PLAIN: dict[Any, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}
LISTS = (tuple, list, Sequence)
DEEPEST = 32
"""Deepest nesting of mappings and lists; specs written by hand need three or four levels."""
LARGEST = 2**64
"""Whole numbers must be between its negative and it: others fit into no tensor, seed or file."""


@dataclass(frozen=True)
class Parameter:
    """A parameter's annotation, and whether it is required."""

    annotation: Any
    required: bool


class WrongTypeError(Exception):
    """A value is not of the annotated type, or outside its limits."""


def parameters(maker: Any) -> dict[str, Parameter] | None:
    """Return the parameters of a class, function or instance by name; None if it takes any keyword.

    The parameters of a dataclass instance are its fields; another instance has none.
    """
    if not callable(maker) or (is_dataclass(maker) and not isinstance(maker, type)):
        if not is_dataclass(maker):
            return {}
        hints = _hints(type(maker))
        return {f.name: Parameter(hints.get(f.name, Any), False) for f in fields(maker) if f.init}
    hints = _hints(maker)
    found = {}
    for name, each in inspect.signature(maker).parameters.items():
        if each.kind is each.VAR_KEYWORD:
            return None
        if each.kind not in (each.VAR_POSITIONAL, each.POSITIONAL_ONLY):
            found[name] = Parameter(hints.get(name, Any), each.default is each.empty)
    return found


def build(maker: Any, arguments: Mapping[str, Any], called: str, part_of: PartOf) -> Any:
    """Return the result of a class or function, or a copy of an instance with changed fields.

    Args:
        maker: The class, function or instance.
        arguments: By name, as JSON values or already as objects.
        called: Its name in a message.
        part_of: Builds the arguments that are objects of other registries. If an instance holds
            such an object, a mapping can also change the fields of that object.

    Raises:
        UserError: An argument is unknown, missing or of the wrong type, or the maker fails.
    """
    known = parameters(maker)
    if known is None:
        known = dict.fromkeys(arguments, Parameter(Any, False))
    _check_names(known, arguments, called, maker)
    values = {}
    for name, value in arguments.items():
        wanted = known[name].annotation
        part = _changed(maker, name, value, part_of)
        if part is not None:
            values[name] = build(part, value, f"{name} of {called}", part_of)
            continue
        try:
            values[name] = convert(value, wanted, part_of)
        except WrongTypeError:
            raise UserError(must(f"{name} of {called}", wanted, value)) from None
    try:
        if callable(maker) and (isinstance(maker, type) or not is_dataclass(maker)):
            return maker(**values)
        return replace(maker, **values) if values else maker
    except UserError:
        raise
    except FAULTS as error:  # whatever the user's class does
        raise UserError(f"building {called} failed: {one_line(error)}") from error


def check_fields(thing: Any) -> None:
    """Check that the fields of a dataclass match their annotations.

    Call it in `__post_init__`. NumPy numbers become Python numbers, and lists become tuples.

    Raises:
        UserError: A field has another type, or a number outside its limits; the message names it.
    """
    kind: Any = type(thing)
    for name, wanted in _fields(kind).items():
        value = getattr(thing, name)
        right = checked(f"{name} of {kind.__name__}", value, wanted)
        if right is not value:
            object.__setattr__(thing, name, right)


def checked(called: str, value: Any, wanted: Any) -> Any:
    """Return a value as the annotated type.

    Raises:
        UserError: It is of another type, or outside its limits.
    """
    try:
        return convert(value, wanted, _no_part)
    except WrongTypeError:
        raise UserError(must(called, wanted, value)) from None


def convert(value: Any, wanted: Any, part_of: PartOf) -> Any:
    """Return a value as the annotated type.

    Raises:
        WrongTypeError: It is of another type, or outside its limits.
        UserError: It names an object of another registry that cannot be built.
    """
    origin, options = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        return _within(convert(value, options[0], part_of), options[1:])
    if origin in (Union, types.UnionType):
        return _one_of(value, options, part_of)
    if origin is Literal:
        if value not in options:
            raise WrongTypeError
        return value
    if origin in LISTS or wanted in LISTS:
        return _list(value, origin or wanted, options, part_of)
    if wanted in PLAIN:
        return _number_or_text(value, wanted)
    if wanted is types.NoneType:
        if value is not None:
            raise WrongTypeError
        return value
    if origin is not None:
        return _generic(value, origin)
    if wanted is Path:
        return _path(value)
    if wanted in (Any, object) or not isinstance(wanted, type) or isinstance(value, wanted):
        return value  # nothing that can be checked, or already right
    part = part_of(wanted)
    if part is not None:
        made = part(value)
    elif is_dataclass(wanted) and isinstance(value, Mapping):
        made = build(wanted, value, wanted.__name__, part_of)
    else:
        raise WrongTypeError
    if not isinstance(made, wanted):
        raise WrongTypeError
    return made


def words(wanted: Any) -> str:
    """Return an annotation in words."""
    origin, options = get_origin(wanted), get_args(wanted)
    if origin is Annotated:
        limits = [str(each) for each in options[1:] if isinstance(each, Limits)]
        return " ".join([words(options[0]), *limits])
    if wanted in PLAIN:
        return PLAIN[wanted][1]
    if wanted is Path:
        return "a path"
    if origin in (Union, types.UnionType):
        return " or ".join(map(words, options))
    if origin is Literal:
        return " or ".join(map(repr, options))
    if origin in LISTS or wanted in LISTS:
        inner = list(dict.fromkeys(words(each) for each in options if each is not Ellipsis))
        return f"a list of {' and '.join(inner)}" if inner else "a list"
    if wanted is types.NoneType:
        return "null"
    if origin in (Mapping, dict):
        return "a mapping"
    name = str(getattr(wanted, "__name__", wanted))
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def must(called: str, wanted: Any, value: Any) -> str:
    """Return the sentence that states what a value must be."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if whole and not -LARGEST < value < LARGEST and PLAIN[int][1] in words(wanted):
        return f"{called} must be between -2**64 and 2**64, not {shown(value)}"
    return f"{called} must be {words(wanted)}, not {shown(value)}"


def listing(names: Iterable[str]) -> str:
    """Return names as part of a sentence."""
    return ", ".join(names) or "no arguments"


def _parts_of(maker: Any) -> dict[str, Any]:
    """Return the dataclasses that an instance holds, by field."""
    if isinstance(maker, type) or not is_dataclass(maker):
        return {}
    held = {field.name: getattr(maker, field.name) for field in fields(maker) if field.init}
    return {k: v for k, v in held.items() if is_dataclass(v) and not isinstance(v, type)}


def _changed(maker: Any, name: str, value: Any, part_of: PartOf) -> Any:
    """Return the part of an instance whose fields a mapping changes; None if it names another."""
    part = _parts_of(maker).get(name)
    if part is None or not isinstance(value, Mapping) or part_of(type(part)) is None:
        return None
    named = split(value)
    return part if named is None or named.name in (parameters(part) or ()) else None


def _in_part(maker: Any, name: str) -> str:
    """Return a hint at the part of an instance that takes an argument; empty if none does."""
    for place, part in _parts_of(maker).items():
        if name in (parameters(part) or ()):
            return f"; its {place} takes {name}: {{{place}: {{{name}: VALUE}}}}"
    return ""


def _check_names(
    known: Mapping[str, Parameter], arguments: Mapping[str, Any], called: str, maker: Any
) -> None:
    unknown = [name for name in arguments if name not in known]
    if unknown:
        hint = _in_part(maker, unknown[0]) or did_you_mean(unknown[0], known)
        raise UserError(f"{called} takes {listing(known)}, not {', '.join(unknown)}{hint}")
    missing = [name for name, each in known.items() if each.required and name not in arguments]
    if missing:
        raise UserError(f"{called} needs {', '.join(missing)}; it takes {listing(known)}")


def _one_of(value: Any, options: Sequence[Any], part_of: PartOf) -> Any:
    if value is None and types.NoneType in options:
        return None
    for option in options:
        try:
            return convert(value, option, part_of)
        except WrongTypeError:
            continue
    raise WrongTypeError


def _list(value: Any, kind: Any, options: Sequence[Any], part_of: PartOf) -> Any:
    if not isinstance(value, list | tuple | range):
        raise WrongTypeError
    if kind is tuple and options and Ellipsis not in options:
        if len(value) != len(options):
            raise WrongTypeError
        wanted = options
    else:
        wanted = (options[0] if options else Any,) * len(value)
    made = [convert(each, option, part_of) for each, option in zip(value, wanted, strict=True)]
    return made if kind is list else tuple(made)


def _generic(value: Any, origin: Any) -> Any:
    """Return a mapping, function or similar object, whose parts are not checked."""
    if isinstance(origin, type) and not isinstance(value, origin):
        raise WrongTypeError
    if isinstance(value, Mapping) and _is_deep(value, DEEPEST):
        raise WrongTypeError
    return value


def _is_deep(value: Any, deepest: int) -> bool:
    """Whether mappings and lists are nested deeper than `deepest` levels.

    Each level visits each object once, as an object may occur in many places.
    """
    level = {id(value): value}
    for _ in range(deepest):
        inside = (each for outer in level.values() for each in _parts(outer))
        level = {id(each): each for each in inside}
    return bool(level)


def _parts(value: Any) -> list[Any]:
    """Return the mappings and lists in a mapping or a list."""
    inside = value.values() if isinstance(value, Mapping) else value
    return [each for each in inside if isinstance(each, Mapping | list | tuple)]


def _path(value: Any) -> Path:
    if not isinstance(value, str | PathLike) or "\0" in str(value):
        raise WrongTypeError
    return value if isinstance(value, Path) else Path(value)


def _number_or_text(value: Any, wanted: Any) -> Any:
    if wanted is int and isinstance(value, float) and value.is_integer():
        value = int(value)  # 1e6
    if isinstance(value, bool) is not (wanted is bool) or not isinstance(value, PLAIN[wanted][0]):
        raise WrongTypeError
    if value != value:  # NaN
        raise WrongTypeError
    if isinstance(value, Integral) and not -LARGEST < int(value) < LARGEST:
        raise WrongTypeError
    return wanted(value)


def _within(value: Any, limits: Iterable[Any]) -> Any:
    if not all(each.hold(value) for each in limits if isinstance(each, Limits)):
        raise WrongTypeError
    return value


def _no_part(kind: type) -> None:  # noqa: ARG001
    return None


@cache
def _fields(kind: type) -> dict[str, Any]:
    """Return the annotations of the fields that `__init__` takes."""
    hints = _hints(kind)
    return {f.name: hints.get(f.name, Any) for f in fields(kind) if f.init}


def _hints(maker: Any) -> dict[str, Any]:
    asked = maker
    if isinstance(maker, type) and not is_dataclass(maker):
        asked = maker.__init__  # type: ignore[misc]  # of this class, not a subclass
    try:
        return get_type_hints(asked, include_extras=True)
    except Exception:  # names that only type checkers know: such arguments are not checked
        return {}
