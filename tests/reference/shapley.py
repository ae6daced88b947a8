"""Shapley values and interactions by their definitions, over all coalitions, as slow as it gets.

Grabisch and Roubens 1999, definition 4 (the interaction index); the values of order two (k-SII)
after Lundberg et al. 2020 and Bordt and von Luxburg 2023, definition 2: a single player's share is
its Shapley value less half of each of its interactions.
"""

from itertools import combinations
from math import factorial


def coalitions(players):
    """Yield all subsets of the players, as sets."""
    for size in range(len(players) + 1):
        yield from map(frozenset, combinations(players, size))


def index(worth, count, subset):
    """Return the Shapley interaction index of a subset: of one player its Shapley value.

    Args:
        worth: Of a frozenset of players.
        count: Of players.
        subset: A tuple of players.
    """
    rest, size = [i for i in range(count) if i not in subset], len(subset)
    total = 0.0
    for others in coalitions(rest):
        weight = (
            factorial(len(others))
            * factorial(count - size - len(others))
            / factorial(count - size + 1)
        )
        gain = sum((-1) ** (size - len(part)) * worth(others | part) for part in coalitions(subset))
        total += weight * gain
    return total


def order_two(worth, count):
    """Return the 2-Shapley interactions: player or pair of players to its effect."""
    pairs = {pair: index(worth, count, pair) for pair in combinations(range(count), 2)}
    single = {
        (i,): index(worth, count, (i,)) - sum(v for pair, v in pairs.items() if i in pair) / 2
        for i in range(count)
    }
    return single | pairs
