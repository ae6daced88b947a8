"""Reading a pickle as the list of operations that it is, without executing it.

Python's own reader allocates as much memory as a few bytes request, and can spend years on the hash
of nested tuples. Here the cost of each operation is proportional to its length, their number is
limited, and the names in a pickle are recorded, never imported or called.
"""

import pickletools
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from beyondprop.errors import UserError

Name = tuple[str, str]
"""A module and an attribute of it."""

LONGEST = 200
"""Maximum characters of a reason, because a damaged pickle may name something of megabytes."""

OPERATIONS = 2_000_000
"""Maximum number of operations of a pickle: twenty times that of a CIFAR-10 batch."""

PLAIN = (
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
)
"""Operations that push their argument."""

STRINGS = ("STRING", "BINSTRING", "SHORT_BINSTRING")
"""Operations of Python 2, whose strings are bytes."""

CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
PUTS, GETS = ("PUT", "BINPUT", "LONG_BINPUT"), ("GET", "BINGET", "LONG_BINGET")
NOTHING = ("PROTO", "FRAME")


class Told:
    """The record of an object: what a pickle says about it, without executing it.

    Attributes:
        arguments: Constructor arguments.
        items: Items that are set by key.
        state: State that is set afterwards.
    """

    __slots__ = ("arguments", "items", "state")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.items: dict[Any, Any] = {}
        self.state: Any = None


class Named:
    """Represents a class or a function that a pickle names."""


class Mark:
    """The start of a collection on the stack."""


class Reader:
    """Executes the operations of a pickle on plain data.

    Args:
        names: Names that the pickle may use.
    """

    def __init__(self, names: Collection[Name]) -> None:
        self.names = names
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        """Return the content of a pickle.

        Raises:
            Exception: Any error that a damaged pickle causes; `ValueError` if it is refused.
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
        """Perform one operation."""
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
            raise ValueError(f"its operation {operation} is not needed for plain data")

    def _taken(self, count: int) -> list[Any]:
        """Remove the last values from the stack and return them."""
        start = len(self.stack) - count
        if start < 0:
            raise ValueError("it takes more values than it has put on the stack")
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def _collected(self) -> list[Any]:
        """Remove everything after the last mark from the stack and return it."""
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
            raise ValueError("it calls something that it has not named")
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
    """Return the content of a pickle; strings of Python 2 are bytes, and all named objects are
    `Told`.

    Args:
        content: The pickle.
        name: Name for error messages.
        names: Names that the pickle may use.

    Raises:
        UserError: It is damaged, names anything else, or has too many operations.
    """
    try:
        return Reader(names).read(content)
    except Exception as error:  # a damaged pickle may cause any error
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{name} is not a pickle of plain data ({reason[:LONGEST]})") from None
