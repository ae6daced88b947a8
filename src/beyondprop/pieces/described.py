"""Digests that identify objects, including the user's code, across processes.

A stored student is reused if its settings are the same. A printed object does not show that: two
functions print alike, and so do two versions of one class. So values are described by value, code
of installed packages by name, and all other functions and classes by their bytecode and the values
that it reads from its surroundings.
"""

from __future__ import annotations

import dis
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from functools import cached_property, partial
from numbers import Integral, Real
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, EllipsisType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.pieces.contents import content

GENERATED = "<string>"
"""The file name of dunder methods that `dataclass` generates, which depend only on the fields."""
GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
"""Instructions that read a global name."""
UNTOLD = frozenset(
    {
        *("__dict__", "__weakref__", "__doc__", "__module__", "__repr__", "__slots__"),
        *("__slotnames__", "_abc_impl"),  # stored there by pickle, and by abstract classes
    }
)
"""Members of a class that do not affect its behaviour."""


def digest_of(value: Any, called: str) -> str:
    """Return the SHA-256 of an object's description.

    Args:
        value: A number, a dataclass of numbers, a function, or an instance of any class.
        called: Its name in messages.

    Raises:
        UserError: The object holds something that cannot be described, such as an open file.
    """
    try:
        text = json.dumps(Description(()).of(value), sort_keys=True)
    except UndescribedError as error:
        raise UserError(
            f"{called} holds a {error}, which has no digest, so a stored student could be mistaken "
            "for another one: use a function, or a dataclass of numbers and text"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_code(model: nn.Module) -> str:
    """Return the SHA-256 of the code of a model's classes, which `digest_of_model` leaves out.

    Classes of installed packages count by name, the user's own classes by their code.
    """
    kinds = {type(each) for each in model.modules()}
    return digest_of(sorted(kinds, key=named), "the model")


def named(kind: type) -> str:
    """Return a class's name with its module's."""
    return f"{kind.__module__}.{kind.__qualname__}"


class UndescribedError(Exception):
    """An object of this class cannot be described."""


@dataclass(frozen=True)
class Description:
    """Describes objects inside others.

    Attributes:
        outer: The identities of the enclosing objects.
    """

    outer: tuple[int, ...]

    def of(self, value: Any) -> Any:
        """Return an object's description as JSON.

        Raises:
            UndescribedError: The object has no description.
        """
        if id(value) in self.outer:
            return ["itself", self.outer.index(id(value))]
        inner = Description((*self.outer, id(value)))
        for describe in (simple, inner.container, inner.code, inner.instance):
            found = describe(value)
            if found is not None:
                return [type(value).__name__, found]
        raise UndescribedError(type(value).__name__)

    def container(self, value: Any) -> Any:
        """Return the description of a container, or None for anything else."""
        if isinstance(value, Mapping):
            return [[self.of(key), self.of(each)] for key, each in value.items()]
        if isinstance(value, list | tuple):
            return [self.of(each) for each in value]
        if isinstance(value, set | frozenset):
            return sorted(json.dumps(self.of(each), sort_keys=True) for each in value)
        return None

    def code(self, value: Any) -> Any:
        """Return the description of a callable or property by its code, or None."""
        if isinstance(value, partial):
            return [self.of(value.func), self.of(value.args), self.of(value.keywords)]
        if isinstance(value, MethodType):
            return [self.of(value.__self__), self.of(value.__func__)]
        if isinstance(value, staticmethod | classmethod):
            return self.of(value.__func__)
        if isinstance(value, property):
            return [self.of(each) for each in (value.fget, value.fset)]
        if isinstance(value, cached_property):
            return self.of(value.func)
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        return None

    def instance(self, value: Any) -> Any:
        """Return the description of an instance by its class and its attributes."""
        if is_dataclass(value):
            known = {each.name: getattr(value, each.name) for each in fields(value)}
        elif installed(type(value).__module__) and hasattr(value, "settings"):
            known = value.settings()
        elif hasattr(value, "__dict__"):
            known = vars(value)
        else:
            return None
        return [self.of(type(value)), self.of(known)]

    def _function(self, value: FunctionType) -> Any:
        name = f"{value.__module__}.{value.__qualname__}"
        if installed(value.__module__) and "<" not in name:  # lambdas share one name
            return name
        cells = [each.cell_contents for each in value.__closure__ or ()]
        read = {
            each: self._around(value.__globals__[each])
            for each in sorted(names_in(value.__code__))
            if each in value.__globals__
        }
        defaults = [self.of(each) for each in (value.__defaults__, value.__kwdefaults__)]
        return [code_of(value.__code__), defaults, [self.of(each) for each in cells], read]

    def _class(self, value: type) -> Any:
        name = f"{value.__module__}.{value.__qualname__}"
        if installed(value.__module__):
            return name
        members = {
            key: self._around(each)
            for key, each in vars(value).items()
            if key not in UNTOLD
            and not key.startswith("__dataclass_")
            and not (is_dataclass(value) and generated(key, each))
        }
        return [name, members, [self.of(each) for each in value.__bases__]]

    def _around(self, value: Any) -> Any:
        """Return the description of a value that code reads; its class, if it has none."""
        try:
            return self.of(value)
        except UndescribedError as error:
            return f"a {error}"


def simple(value: Any) -> Any:
    """Return the description of a value without parts, or None for anything else."""
    if value is None or isinstance(value, str | bool | int):
        return repr(value)
    if isinstance(value, Integral):
        return repr(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, bytes | complex | torch.dtype | torch.device | PurePath | EllipsisType):
        return repr(value)
    if isinstance(value, Enum):
        return f"{type(value).__module__}.{value}"
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(content(value)).hexdigest()}"
    if isinstance(value, np.ndarray) and value.dtype != object:
        return f"{value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, BuiltinFunctionType):
        return f"{value.__module__}.{value.__qualname__}"
    return None


def code_of(code: CodeType) -> Any:
    """Return bytecode as JSON, with its constants and nested code."""
    constants = [
        code_of(each) if isinstance(each, CodeType) else constant(each) for each in code.co_consts
    ]
    return [code.co_code.hex(), list(code.co_names), list(code.co_varnames), constants]


def constant(value: Any) -> str:
    """Return a constant as text; a set is sorted, so that all processes agree."""
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)


def names_in(code: CodeType) -> set[str]:
    """Return the global names that bytecode reads, including nested code."""
    inner = (names_in(each) for each in code.co_consts if isinstance(each, CodeType))
    own = {each.argval for each in dis.get_instructions(code) if each.opname in GLOBAL}
    return own.union(*inner)


def generated(name: str, member: Any) -> bool:
    """Whether `dataclass` generated a member of a class."""
    own = isinstance(member, FunctionType) and member.__code__.co_filename == GENERATED
    return own and name.startswith("__")


def installed(name: str | None) -> bool:
    """Whether a module belongs to this library, Python, or an installed package."""
    top = (name or "").partition(".")[0]
    if top in ("beyondprop", "builtins") or top in sys.stdlib_module_names:
        return True
    place = PurePath(getattr(sys.modules.get(name or ""), "__file__", None) or "")
    return bool({"site-packages", "dist-packages"} & set(place.parts))
