"""The form in which a model runs under its rules: with hooks, or a registered faster form."""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from beyondprop.engine import hooks
from beyondprop.engine.passes import Passes


class Change(Protocol):
    """A change of a model that can be undone."""

    def remove(self) -> None:
        """Undo it."""


class Form(ABC):
    """A change of the model that makes it end the graphs of its blocks itself, without hooks."""

    @abstractmethod
    def suits(self, passes: Passes) -> bool:
        """Whether the model can run in this form."""

    @abstractmethod
    def install(self, passes: Passes) -> Change:
        """Change the model."""


OPTIONAL = "beyondprop.engine.fast"
"""The package of the library's own forms, which it registers when it is imported.

It is imported by name, as kernels are, since it depends on modules above the engine.
"""

_FORMS: list[Form] = []


def register(form: Form) -> None:
    """Register a form; models that it suits run in it."""
    _FORMS.append(form)


def install(passes: Passes) -> Sequence[Change]:
    """Change the model so that the graphs of its blocks end; return the changes, to undo them."""
    importlib.import_module(OPTIONAL)
    for form in _FORMS:
        if form.suits(passes):
            return [form.install(passes)]
    return hooks.install(passes)
