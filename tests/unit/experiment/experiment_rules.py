"""Rules and a projection of a user's own, importable by name from child processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from beyondprop.core import Block, Host, State, Traits
from beyondprop.projections import Projection
from beyondprop.rules import DirectFeedbackAlignment, DirectRule, SignalRule


@dataclass(frozen=True)
class Signs(DirectRule):
    """The signs of the output error go to every block."""

    name: ClassVar[str] = "signs-of-errors"
    scale: float = 1.0

    def messages(self, run) -> Sequence[Tensor | None]:
        """Return the signs, as small as a mean loss would make them."""
        return [
            None if error is None else self.scale * error.sign() / len(error)
            for error in run.errors
        ]


@dataclass(frozen=True)
class Ones(Projection):
    """Every output is the sum of the inputs."""

    name: ClassVar[str] = "ones"

    def matrix(self, in_features: int, out_features: int, stream: int, like: Tensor) -> Tensor:
        """Return ones, scaled to keep norms about."""
        del stream
        return like.new_full((in_features, out_features), out_features**-0.5)


class Breaks(SignalRule):
    """A rule that fails wherever it is told to when it is attached."""

    def __init__(self, where: str) -> None:
        self.name = f"breaks-in-{where}"
        self.where = where

    def signal(self, at):
        """Never asked."""
        raise AssertionError(at)

    def problems(self, block: Block):
        """Break, or find none."""
        self._break("problems")
        yield from super().problems(block)

    def start(self, block: Block) -> State:
        """Break, or begin with nothing."""
        self._break("start")
        return super().start(block)

    def install(self, block: Block, host: Host) -> str:
        """Break once the graph is ended, or end it."""
        said = super().install(block, host)
        self._break("install")
        return said

    def _break(self, here: str) -> None:
        if here == self.where:
            raise KeyError(f"{here}\nof a user's own")


class BreaksInTraining(SignalRule):
    """A rule whose signal fails."""

    name = "breaks-in-training"
    traits = Traits(exact_at_output=True)

    def signal(self, at):
        """Break."""
        raise KeyError(at)


def by_ones() -> DirectFeedbackAlignment:
    """Return DFA by this projection."""
    return DirectFeedbackAlignment(Ones())
