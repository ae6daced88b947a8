"""Which combination of features made a model answer so: Shapley interactions, by shapiq.

A region of an input is a player; a coalition is worth what is told of the input in which all other
regions are hidden. The indices are k-SII of order 2 (Lundberg et al. 2020; Bordt and von Luxburg,
"From Shapley values to generalized additive models and back", AISTATS 2023), by KernelSHAP-IQ
(Fumagalli et al., ICML 2024): the effects of single regions and of pairs add up to what the whole
input says more than nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beyondprop.audit.explanations.evidence import Told, without_graph
from beyondprop.audit.explanations.regions import shown
from beyondprop.errors import UserError

Game = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
"""Coalitions ``(k, players)`` bool to their worths ``(k,)``."""

BUDGET = 2048
"""Coalitions that are asked for at most."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """The effects of players and of pairs of them.

    Attributes:
        single: Of each alone, ``(players,)`` float64.
        pairs: Of each two together, beyond what they do alone, ``(players, players)`` float64,
            symmetric with a zero diagonal. Positive: together they say more than each alone does;
            negative: each says again what the other has said.
        whole: Worth of all players less that of none; the sum of all effects.
    """

    single: Tensor
    pairs: Tensor
    whole: float

    @property
    def from_pairs(self) -> float:
        """The share of the effects' sizes that lies in pairs."""
        pairs = self.pairs.abs().sum().item() / 2
        total = pairs + self.single.abs().sum().item()
        return pairs / total if total else 0.0

    def most(self, count: int) -> list[tuple[tuple[int, ...], float]]:
        """Return the largest effects: the players and the effect, by size."""
        return sorted(self._all(), key=lambda each: -abs(each[1]))[:count]

    def largest_pairs(self, count: int) -> list[tuple[tuple[int, ...], float]]:
        """Return the largest effects of pairs, by size."""
        pairs = [each for each in self._all() if len(each[0]) == 2]
        return sorted(pairs, key=lambda each: -abs(each[1]))[:count]

    def _all(self) -> list[tuple[tuple[int, ...], float]]:
        players = range(len(self.single))
        single = [((i,), self.single[i].item()) for i in players]
        return single + [
            ((i, j), self.pairs[i, j].item()) for i in players for j in players if i < j
        ]


def interactions(game: Game, players: int, budget: int = BUDGET, seed: int = 0) -> Interactions:
    """Return the interactions of a game.

    Args:
        game: Worths of coalitions.
        players: How many.
        budget: Coalitions that are asked for; with all of them, 2 to the players, it is exact to
            about 1e-6.
        seed: By which coalitions are drawn.

    Raises:
        UserError: Fewer than two players, or too few coalitions for them.
    """
    from shapiq import KernelSHAPIQ

    every = 2**players
    needed = min(every, 2 + players + players * (players - 1) // 2)
    if players < 2:
        raise UserError("combinations need inputs of at least two parts, and these have one")
    if budget < needed:
        raise UserError(
            f"interactions of {players} players need at least {needed} coalitions, not {budget}"
        )
    method = KernelSHAPIQ(
        n=players, max_order=2, index="k-SII", pairing_trick=True, random_state=seed
    )
    found = method.approximate(min(budget, every), game)
    ends = game(np.array([[False] * players, [True] * players]))
    single = torch.tensor([float(found[(i,)]) for i in range(players)], dtype=torch.float64)
    pairs = torch.zeros(players, players, dtype=torch.float64)
    for i in range(players):
        for j in range(i + 1, players):
            pairs[i, j] = pairs[j, i] = float(found[(i, j)])
    return Interactions(single, pairs, float(ends[1] - ends[0]))


def game_of(told: Told, x: Tensor, chosen: int, absent: Tensor, regions: Tensor) -> Game:
    """Return the game of one input: a coalition is worth what is told where it alone is shown.

    Args:
        told: Of which, such as `evidence(model)`.
        x: One input.
        chosen: The class asked about.
        absent: Hides, in the input's shape.
        regions: Of one input: the players.
    """

    def worths(coalitions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        kept = torch.as_tensor(np.asarray(coalitions, dtype=bool), device=x.device)
        mixed = shown(x[None], absent, regions, kept)  # (k, ...)
        classes = torch.full((len(mixed),), chosen, device=x.device)
        return without_graph(told, mixed, classes).double().cpu().numpy()

    return worths
