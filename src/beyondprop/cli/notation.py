"""YAML as people write it, without notation that PyYAML reads in an unexpected way.

``010`` is ten, not eight; ``1e-3`` is a number; and ``1:30``, which YAML reads as ninety, is an
error. Aliases, very deep nesting and numbers with thousands of digits are errors, too.
"""

import re
from typing import Any

import yaml
from jsonargparse import set_loader

from beyondprop.cli.aliases import check_no_aliases

MODE = "beyondprop"
"""The name of this parser mode in jsonargparse."""

DEEPEST = 64
"""Deepest nesting of brackets, and of dashes in a line."""

DASHES = re.compile(rf"(?:[-?][ \t]+){{{DEEPEST},}}")
"""Matches nested lists in one line."""

NUMBERS = {
    "int": r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)",
    "float": r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9_]+)[eE][-+]?[0-9]+"
    r"|[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+)"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
"""Patterns of numbers by type."""


SIXTIES = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9]*)?")
"""Matches base-60 numbers; jsonargparse also reads strings as YAML where it expects a number."""


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """PyYAML's safe loader, in C if available, with these numbers and without dates."""

    yaml_implicit_resolvers = {  # noqa: RUF012  as in PyYAML
        letter: [
            (tag, form) for tag, form in known if tag.split(":")[-1] not in (*NUMBERS, "timestamp")
        ]
        for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


for _kind, _form in NUMBERS.items():
    Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_form})$"), list("-+0123456789.")
    )


def _text(loader: Loader, node: yaml.ScalarNode) -> str:
    text: str = loader.construct_scalar(node)
    check_text(text)
    return text


Loader.add_constructor("tag:yaml.org,2002:str", _text)


def check_text(text: str) -> None:
    """Raise an error if a text is a base-60 number.

    Raises:
        yaml.YAMLError: It is one.
    """
    if SIXTIES.fullmatch(text):
        raise yaml.YAMLError(f"{text} is not read as a number: write it in decimals")


def read_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        yaml.YAMLError: The text is not YAML, or has notation that is not allowed.
    """
    if _depth(text) > DEEPEST or DASHES.search(text):  # it would crash the C parser
        raise yaml.YAMLError(f"lists or mappings are nested deeper than {DEEPEST} levels")
    check_no_aliases(text)
    try:
        value = yaml.load(text, Loader)
    except RecursionError:
        raise yaml.YAMLError("lists or mappings are nested too deeply") from None
    except ValueError:
        raise yaml.YAMLError("a number has thousands of digits, or is none") from None
    if isinstance(value, dict) and value and all(each is None for each in value.values()):
        names = set(text.strip(" {}").replace(" ", "").split(","))
        if names == set(map(str, value)) or text.strip() == f"{next(iter(value))}:":
            return text  # people do not write `{a, b}` and `a:` as mappings
    return value


def _depth(text: str) -> int:
    """Return the deepest nesting of brackets."""
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


set_loader(MODE, read_yaml, exceptions=(yaml.YAMLError,))
