"""Reading a pickle by hand, as the list of operations that it is.

Python's own reader sets aside as much memory as a few bytes ask for, and spends years on the hash
of nested tuples. Here each operation costs what it is long, their number is bounded, and what a
pickle names is remembered, never imported or called.
"""

import pickletools
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from beyondprop.errors import UserError

Name = tuple[str, str]
"""A module and what it is asked for."""

LONGEST = 200
"""Characters of a reason: a damaged pickle may name something of megabytes."""

OPERATIONS = 2_000_000
"""How many a pickle may have: twenty times those of a batch of CIFAR-10."""

PLAIN = (
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
)
"""Operations that give their argument."""

STRINGS = ("STRING", "BINSTRING", "SHORT_BINSTRING")
"""Those of Python 2, whose texts are bytes."""

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS, GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
NOTHING = ("PROTO", "FRAME")


class Told:
    """Stands in for an object: what a pickle says of it, which is not acted upon.

    Attributes:
        arguments: What it is made of.
        items: What is put into it by keys.
        state: What it is given afterwards.
    """

    __slots__ = ("arguments", "items", "state")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.items: dict[Any, Any] = {}
        self.state: Any = None


class Named:
    """Stands in for a class or a function that a pickle names."""


class Mark:
    """Where a pickle begins to collect."""


class Reader:
    """What a pickle has made so far.

    Args:
        names: What it may name.
    """

    def __init__(self, names: Collection[Name]) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        """Return what a pickle holds.

        Raises:
            Exception: Whatever a damaged one makes of it; `ValueError` where it is refused.
        """
        for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
            if number >= OPERATIONS:
                raise ValueError(f"it has more than {OPERATIONS:,} operations")
            if operation.name == "STOP":
                break
            self.follow(operation.name, argument)
        (found,) = self.stack
        return found

    def follow(self, operation: str, argument: Any) -> None:
        """Do one operation."""
        if operation in PLAIN:
            if isinstance(argument, int) and abs(argument) >= 2**64:
                raise ValueError("it holds a whole number of more than 64 bits")
            self.stack.append(argument)
        elif operation in STRINGS:
            self.stack.append(argument.encode("latin-1"))
        elif operation in CONSTANTS:
            self.stack.append(CONSTANTS[operation])
        elif operation in TUPLES:
            self.stack.append(tuple(self._taken(TUPLES[operation])))
        elif operation in PUTS:
            self.memo[argument] = self.stack[-1]
        elif operation in GETS:
            self.stack.append(self.memo[argument])
        elif operation in self.OTHERS:
            self.OTHERS[operation](self, argument)
        elif operation not in NOTHING:
            raise ValueError(f"no plain data needs its operation {operation}")

    def _taken(self, count: int) -> list[Any]:
        """Return the last values, which are on the stack no more."""
        start = len(self.stack) - count
        if start < 0:
            raise ValueError("it takes more than it has given")
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def _collected(self) -> list[Any]:
        """Return all that came after the last mark."""
        start = len(self.stack) - 1
        while not isinstance(self.stack[start], Mark):
            start -= 1
            if start < 0:
                raise ValueError("it collects without a mark")
        return self._taken(len(self.stack) - start)[1:]

    def _append(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("it appends to an object that is not a list")
        self.stack[-1].extend(values)

    def _put(self, values: list[Any]) -> None:
        into = self.stack[-1].items if isinstance(self.stack[-1], Told) else self.stack[-1]
        keys = values[::2]
        if not isinstance(into, dict) or len(values) % 2:
            raise ValueError("it sets keys of an object that is not a dictionary")
        if not all(isinstance(key, str | bytes | int) for key in keys):
            raise ValueError("it has keys that are neither numbers nor texts")
        into.update(zip(keys, values[1::2], strict=True))

    def _dictionary(self) -> None:
        values = self._collected()
        self.stack.append({})
        self._put(values)

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in self.names:
            raise ValueError(f"it names {module}.{name}, which no array needs")
        self.stack.append(Named())

    def _call(self) -> None:
        called, arguments = self._taken(2)
        if not isinstance(called, Named) or not isinstance(arguments, tuple):
            raise ValueError("it calls what it has not named")
        self.stack.append(Told(arguments))

    def _build(self) -> None:
        told, state = self._taken(2)
        if not isinstance(told, Told):
            raise ValueError("it builds a value that is not an object")
        told.state = state
        self.stack.append(told)

    OTHERS: ClassVar[dict[str, Callable[["Reader", Any], None]]] = {
        "MARK": lambda self, _: self.stack.append(Mark()),
        "POP": lambda self, _: self._taken(1).clear(),
        "POP_MARK": lambda self, _: self._collected().clear(),
        "DUP": lambda self, _: self.stack.append(self.stack[-1]),
        "MEMOIZE": lambda self, _: self.memo.update({len(self.memo): self.stack[-1]}),
        "EMPTY_LIST": lambda self, _: self.stack.append([]),
        "LIST": lambda self, _: self.stack.append(self._collected()),
        "APPEND": lambda self, _: self._append(self._taken(1)),
        "APPENDS": lambda self, _: self._append(self._collected()),
        "TUPLE": lambda self, _: self.stack.append(tuple(self._collected())),
        "EMPTY_DICT": lambda self, _: self.stack.append({}),
        "DICT": lambda self, _: self._dictionary(),
        "SETITEM": lambda self, _: self._put(self._taken(2)),
        "SETITEMS": lambda self, _: self._put(self._collected()),
        "GLOBAL": lambda self, argument: self._name(*argument.split(" ", 1)),
        "STACK_GLOBAL": lambda self, _: self._name(*self._taken(2)),
        "REDUCE": lambda self, _: self._call(),
        "NEWOBJ": lambda self, _: self._call(),
        "BUILD": lambda self, _: self._build(),
    }


def unpickled(content: bytes, name: str, names: Collection[Name]) -> Any:
    """Return what a pickle holds; strings of Python 2 are bytes, and all that it names is `Told`.

    Args:
        content: The pickle.
        name: What errors call it.
        names: What it may name.

    Raises:
        UserError: It is damaged, names anything else, or has too many operations.
    """
    try:
        return Reader(names).read(content)
    except Exception as error:  # whatever a damaged pickle makes of it
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} is not a pickle of plain data ({reason[:LONGEST]})") from None
