"""Every rule is registered by its own file."""

from importlib import import_module
from inspect import isabstract, isclass
from pkgutil import walk_packages

import pytest

from beyondprop import rules
from beyondprop.core import Rule
from beyondprop.rules.local.local_loss import LocalLoss
from beyondprop.rules.targets.difference_target_propagation import Inverse

NAMED_OTHERWISE = {LocalLoss, Inverse}  # by its objectives; a part of another rule
MODULES = [each.name for each in walk_packages(rules.__path__, f"{rules.__name__}.")]


@pytest.mark.parametrize("name", MODULES)
def test_a_module_registers_each_of_its_rules(name: str) -> None:
    module = import_module(name)
    bases = (Rule, *(registry.base for registry in (rules.OBJECTIVES, rules.AUXILIARIES)))
    own = {
        each
        for each in vars(module).values()
        if isclass(each) and each.__module__ == name and issubclass(each, bases)
    }
    named = set(getattr(module, "REGISTERED", ()))
    assert {each for each in own if not isabstract(each)} - NAMED_OTHERWISE <= named


def test_all_families_are_looked_through() -> None:
    assert {name.split(".")[2] for name in MODULES} == set(rules.FAMILIES)
