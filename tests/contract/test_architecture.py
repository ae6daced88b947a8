"""docs/architecture.md says what the code says: its contracts, and the order of its layers."""

import inspect
import re
from abc import ABC
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from beyondprop import core
from beyondprop.errors import UserError
from tests.contract.test_imports import LAYERS

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text("utf-8")

CONTRACTS = {
    name: value
    for name, value in vars(core).items()
    if isinstance(value, type) and value.__module__ == core.__name__
}


def section(heading):
    """Return what is under a heading."""
    return re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.S | re.M)[1]


def rows(text):
    """Return the cells of a section's table rows, without those of headings."""
    found = re.findall(r"^\| (`.*) \|$", text, re.M)
    return [[cell.strip() for cell in row.split("|")] for row in found]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


SAID = {quoted(name)[0]: quoted(has) for name, _, has in rows(section("The page"))}


def signature(contract, name):
    """Return a method as the page writes it."""
    names = [n for n in inspect.signature(getattr(contract, name)).parameters if n != "self"]
    return f"{name}({', '.join(names)})"


def test_the_page_names_every_contract_of_the_core():
    assert set(SAID) == set(CONTRACTS)


def test_fields_and_methods_are_those_of_the_code():
    for name, contract in CONTRACTS.items():
        if issubclass(contract, ABC):
            wanted = [signature(contract, method) for method in contract.__abstractmethods__]
            if issubclass(contract, core.Rule) and contract is not core.Rule:
                assert "install" not in contract.__abstractmethods__
        else:
            assert is_dataclass(contract)
            wanted = [field.name for field in fields(contract)]
        assert sorted(SAID[name]) == sorted(wanted), name


def test_the_order_of_the_layers_is_the_one_that_is_checked():
    assert [tuple(quoted(row[0])) for row in rows(section("The order of the layers"))][
        : len(LAYERS)
    ] == list(LAYERS)


def test_every_need_is_named():
    needs = re.search(r"`traits.needs` name: (.*?)\.", PAGE)[1]
    assert set(quoted(needs)) == core.NEEDS


def test_an_unknown_need_is_refused():
    with pytest.raises(UserError, match="but not outputs"):
        core.Traits(frozenset({"outputs"}))
