"""An open registry for rules, tasks, projections, measures and their parts."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar, cast

from beyondprop.errors import UserError
from beyondprop.registry import dotted
from beyondprop.registry.arguments import Part, build, parameters
from beyondprop.registry.spec import Spec, read
from beyondprop.text import suggested

T = TypeVar("T")

MOST = 400
"""Most characters of the names that a message lists after a suggestion."""
SOME = 120
"""Characters of the names that it lists if all names have more."""

Defaults = Mapping[type, Mapping[str, Any]]
"""By type, values of the fields that were not set explicitly."""

NONE: Defaults = {}


class Registry(Mapping[str, T], Generic[T]):
    """Objects of one kind by short name, and a user's own by module:attribute.

    An entry, or the object at module:attribute, is an instance in its usual form, or a class or
    function that returns one. As a mapping, a registry returns the result of `make` by short name.

    Args:
        kind: The kind of its objects, in one word for messages: "rule".
        base: The base class of all its objects.
        entries: By short name, in the order of lists.
        key: The key of a spec's name, next to the arguments.
        parts: Registries of the objects that its objects take as arguments.
        lines: One-line descriptions of instances for lists, by short name.
        makers: By name, functions that build an object from arguments, such as a file's path. Specs
            can name them; iteration leaves them out, since they require arguments.
        advice: Returns what to do about an unknown name; empty if there is no advice.
    """

    def __init__(
        self,
        kind: str,
        base: type[Any],
        entries: Mapping[str, Any],
        *,
        key: str = "name",
        parts: "Iterable[Registry[Any]]" = (),
        lines: Mapping[str, str] | None = None,
        makers: Mapping[str, Callable[..., T]] | None = None,
        advice: Callable[[str], str] | None = None,
    ) -> None:
        self.kind, self.base, self.key = kind, base, key
        self._entries = dict(entries)
        self._parts = (self, *parts)
        self._lines = lines or {}
        self._makers, self._advice = dict(makers or {}), advice

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise KeyError(name)
        return self.make(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def parts(self) -> "tuple[Registry[Any], ...]":
        """The registries for arguments of its entries."""
        return self._parts[1:]

    @property
    def makers(self) -> Mapping[str, Callable[..., T]]:
        """Functions that build an entry from required arguments."""
        return self._makers

    def add(self, name: str, entry: Any, *parts: "Registry[Any]") -> None:
        """Add an entry, and the registries of the objects that it takes as arguments.

        Raises:
            ValueError: There is another entry of that name.
        """
        if self._entries.setdefault(name, entry) is not entry:
            raise ValueError(f"the name {name!r} is already that of another {self.kind}")
        self._parts += parts

    def make(self, spec: Spec | T, defaults: Defaults = NONE) -> T:
        """Return the object that a spec names, built with the spec's arguments.

        Args:
            spec: See `beyondprop.registry.spec`; an object is returned as it is.
            defaults: By type, values for fields of the object and of all its parts. They apply only
                to fields that the spec does not set and that still have the default of their class.

        Raises:
            UserError: The name is unknown, or an argument is unknown, missing or wrong.
        """
        if isinstance(spec, self.base):
            return cast("T", spec)
        name, arguments = read(cast("Spec", spec), self.kind, self.key)
        maker = self.entry(name)

        def part_of(wanted: type) -> Part | None:
            for registry in self._all():
                if issubclass(wanted, registry.base):
                    return lambda given: registry.make(given, defaults)
            return None

        called = f"{self.kind} {name!r}"
        if isinstance(maker, self.base):
            made = build(filled(maker, defaults), arguments, called, part_of)
        else:
            made = build(maker, arguments, called, part_of)
            if not isinstance(made, self.base):
                kind = type(made).__name__
                raise UserError(f"{name} is of type {kind}, not a {self.base.__name__}")
            made = filled(made, defaults, given=arguments)
        return cast("T", made)

    def entry(self, name: str) -> Any:
        """Return the instance, class or function of a name, as registered or as imported.

        Raises:
            UserError: The name is unknown.
        """
        if name in self._entries:
            return self._entries[name]
        if name in self._makers:
            return self._makers[name]
        if ":" not in name:
            raise UserError(f"unknown {self.kind} {name!r}{self._instead(name)}")
        found = dotted.resolve(name)
        wrong = isinstance(found, type) and not issubclass(found, self.base)
        if wrong or not (isinstance(found, self.base) or callable(found)):
            what = "a class, but not a" if wrong else f"of type {type(found).__name__}, not a"
            raise UserError(f"{name} is {what} {self.base.__name__}")
        return found

    def _instead(self, name: str) -> str:
        """Return the names to use instead of an unknown one: the likeliest first, then all."""
        advice = self._advice(name) if self._advice else ""
        if advice:
            return f"; {advice}"
        meant = suggested(name, self._classes() | {each: each for each in self})
        listed = ", ".join([*self, *self._makers])
        if meant and len(listed) > MOST:
            first = listed[:SOME].rpartition(", ")[0]
            return f"{meant} There are {first}, ...; beyondprop list {self.kind}s shows all"
        begun = f"{meant} There" if meant else "; there"
        return f"{begun} are {listed}, and your own as my.module:attribute"

    def _classes(self) -> dict[str, str]:
        """Return the first short name of each class by the class's name in Python."""
        kinds = {
            name: entry if isinstance(entry, type) else type(entry)
            for name, entry in reversed(self._entries.items())
        }
        return {
            kind.__name__: name
            for name, kind in kinds.items()
            if issubclass(kind, self.base) and kind is not self.base
        }

    def name(self, spec: Spec) -> str:
        """Return the name in a spec, without arguments.

        Raises:
            UserError: It is not a spec.
        """
        return read(spec, self.kind, self.key).name

    def describe(self, name: str) -> str:
        """Return a one-line description: as registered, the `summary`, or from the docstring."""
        entry = self.entry(name)
        documented = type(entry) if isinstance(entry, self.base) else entry
        text = self._lines.get(name, getattr(entry, "summary", None))
        return text if isinstance(text, str) else first_line(documented)

    def arguments(self, name: str) -> list[str]:
        """Return the names of an entry's arguments."""
        return list(parameters(self.entry(name)) or ())

    def _all(self) -> "Iterator[Registry[Any]]":
        yield from self._parts
        for part in self._parts[1:]:
            yield from part._all()


def first_line(documented: object) -> str:
    """Return the first line of a docstring."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


def filled(thing: T, defaults: Defaults, given: Iterable[str] = ()) -> T:
    """Return an object in which fields that have the default of their class get other values.

    Args:
        thing: A dataclass, and the dataclasses in it, are copied; other objects are returned as
            they are.
        defaults: The values, by type and field.
        given: Fields that stay as they are.
    """
    if not defaults or not is_dataclass(thing) or isinstance(thing, type):
        return thing
    own: dict[str, Any] = {}
    for kind, values in defaults.items():
        own |= values if isinstance(thing, kind) else {}
    changes = {}
    for field in fields(thing):
        if not field.init or field.name in given:
            continue
        before = getattr(thing, field.name)
        if field.name in own and field.default is not MISSING and before == field.default:
            changes[field.name] = own[field.name]
        else:
            after = filled(before, defaults)
            changes |= {field.name: after} if after is not before else {}
    # Objects of a type with defaults are always copied, so that they do not share their state.
    return replace(thing, **changes) if changes or own else thing
