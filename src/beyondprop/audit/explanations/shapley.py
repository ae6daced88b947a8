"""Interactions of features: Shapley interactions, by shapiq.

The regions of an input are the players. The worth of a coalition is the explained quantity of the
input with all other regions hidden. The indices are k-SII of order 2 (Lundberg et al. 2020; Bordt
and von Luxburg, "From Shapley values to generalized additive models and back", AISTATS 2023), by
KernelSHAP-IQ (Fumagalli et al., ICML 2024): the effects of single regions and of pairs sum to the
difference between the complete input and the baseline.
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
"""Default number of coalitions that are evaluated."""


@dataclass(frozen=True, eq=False)
class Interactions:
    """The effects of single players and of pairs.

    Attributes:
        single: Effect of each player, ``(players,)`` float64.
        pairs: Effect of each pair beyond its single effects, ``(players, players)`` float64,
            symmetric with a zero diagonal. Positive: the two add more together than separately;
            negative: they are redundant.
        whole: Worth of all players minus that of none; the sum of all effects.
    """

    single: Tensor
    pairs: Tensor
    whole: float

    @property
    def from_pairs(self) -> float:
        """The share of the absolute effects that comes from pairs."""
        pairs = self.pairs.abs().sum().item() / 2
        total = pairs + self.single.abs().sum().item()
        return pairs / total if total else 0.0

    def most(self, count: int) -> list[tuple[tuple[int, ...], float]]:
        """Return the largest effects by absolute value: the players and the effect."""
        return sorted(self._all(), key=lambda each: -abs(each[1]))[:count]

    def largest_pairs(self, count: int) -> list[tuple[tuple[int, ...], float]]:
        """Return the largest effects of pairs, by absolute value."""
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
        game: Computes the worths of coalitions.
        players: Number of players.
        budget: Number of coalitions that are evaluated; with all 2**players the result is exact to
            about 1e-6.
        seed: Seed for the draw of coalitions.

    Raises:
        UserError: There are fewer than two players, or too few coalitions for them.
    """
    from shapiq import KernelSHAPIQ

    every = 2**players
    needed = min(every, 2 + players + players * (players - 1) // 2)
    if players < 2:
        raise UserError("interactions need inputs with at least two parts, but these have one")
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
    """Return the game of one input: the worth of a coalition is the explained quantity when only
    the coalition is shown.

    Args:
        told: The explained quantity, such as `evidence(model)`.
        x: One input.
        chosen: The explained class.
        absent: Replaces hidden regions; in the input's shape.
        regions: Regions of one input: the players.
    """

    def worths(coalitions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        kept = torch.as_tensor(np.asarray(coalitions, dtype=bool), device=x.device)
        mixed = shown(x[None], absent, regions, kept)  # (k, ...)
        classes = torch.full((len(mixed),), chosen, device=x.device)
        return without_graph(told, mixed, classes).double().cpu().numpy()

    return worths
