"""In which form a model runs under its rules: by hooks, or by a faster form that was registered."""

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
    """A change of the model by which it ends the graphs of its blocks itself, without hooks."""

    @abstractmethod
    def suits(self, passes: Passes) -> bool:
        """Whether the model can run so."""

    @abstractmethod
    def install(self, passes: Passes) -> Change:
        """Change the model."""


OPTIONAL = "beyondprop.engine.fast"
"""The package whose forms come with the library: it registers them when it is imported.

It is asked for by name, as kernels are, since it needs what lies above the engine.
"""

_FORMS: list[Form] = []


def register(form: Form) -> None:
    """Have models run in this form where it suits them."""
    _FORMS.append(form)


def install(passes: Passes) -> Sequence[Change]:
    """Change the model so that the graphs of its blocks end; return what undoes that."""
    importlib.import_module(OPTIONAL)
    for form in _FORMS:
        if form.suits(passes):
            return [form.install(passes)]
    return hooks.install(passes)
