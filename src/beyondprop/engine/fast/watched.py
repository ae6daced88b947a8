"""Plain chains under layer rules that check for new layers without a hook, which costs more."""

from typing import Any

from torch import nn

from beyondprop._torch.modules import is_chain
from beyondprop.engine.forms import Form
from beyondprop.engine.members import Members
from beyondprop.engine.passes import Passes


class WatchedSequential(nn.Sequential):
    """An `nn.Sequential` that checks its members; a plain one gets this class."""

    _members: Members

    def forward(self, input: Any) -> Any:
        """Run the children one after another."""
        members: Members | None = vars(self).get("_members")
        if members is not None:  # None in a slice of the model that was attached to
            members.check()
        for module in self:
            input = module(input)
        return input


class Watched(Form):
    """An `nn.Sequential` without ended graphs whose rules keep no state."""

    def suits(self, passes: Passes) -> bool:
        """Whether the model is such a chain."""
        quiet = not passes.taught and not passes.state.needed
        layers = passes.members is not None and not passes.blocks[0].rule.traits.whole_model
        model = passes.model
        return quiet and layers and is_chain(model) and type(model) is nn.Sequential

    def install(self, passes: Passes) -> "SwappedRoot":
        """Give the model the class that checks its members."""
        assert passes.members is not None
        return SwappedRoot(passes.model, passes.members)


class SwappedRoot:
    """A chain that has another class until `remove` is called."""

    def __init__(self, model: nn.Module, members: Members) -> None:
        self.model = model
        model.__class__ = WatchedSequential
        vars(model)["_members"] = members

    def remove(self) -> None:
        """Restore the model's own class."""
        if isinstance(self.model, WatchedSequential):
            self.model.__class__ = nn.Sequential  # type: ignore[assignment]
        vars(self.model).pop("_members", None)
