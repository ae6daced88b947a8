"""The order of one network's units that brings its weights closest to another's.

Ainsworth, Hayase and Srinivasa, "Git Re-Basin: merging models modulo permutation symmetries", ICLR
2023, section 3.2, weight matching.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from beyondprop.audit.minima.units import Hidden, Orders, permuted

SWEEPS = 100
"""Maximum number of passes over all layers; a network of three layers needs fewer than ten."""


def weight_matching(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], hidden: Sequence[Hidden], seed: int
) -> list[Tensor]:
    """Return the orders of the second network's units that bring its weights close to the first's.

    The method maximises the sum of products of corresponding weights, one layer at a time with all
    others fixed, until no layer improves it; each step is a linear assignment (algorithm 1). The
    result is a local optimum, as finding the best of all is hard.

    Args:
        first: Parameters of a network by name.
        second: Parameters of another network of the same architecture.
        hidden: The hidden layers.
        seed: Seed for the order in which the layers are processed.

    Returns:
        The unit of the second network for each position, (units,) int64, for each hidden layer.
    """
    from scipy.optimize import linear_sum_assignment

    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(layer.units) for layer in hidden]
    for _ in range(SWEEPS):
        bettered = False
        for turn in torch.randperm(len(hidden), generator=generator).tolist():
            table = likeness(first, second, hidden, orders, turn)  # (units, units)
            _, columns = linear_sum_assignment(table.numpy(), maximize=True)
            found = torch.from_numpy(columns)
            before, after = (total(table, order) for order in (orders[turn], found))
            if after > before + 1e-9 * table.abs().max().item():
                orders[turn], bettered = found, True
        if not bettered:
            break
    return orders


def likeness(
    first: Mapping[str, Tensor],
    second: Mapping[str, Tensor],
    hidden: Sequence[Hidden],
    orders: Orders,
    turn: int,
) -> Tensor:
    """Return the similarity of each unit of one layer to each unit of the other network, (units,
    units).

    It is the sum of products of all weights that belong to the units, with the other layers in
    their current orders.
    """
    layer = hidden[turn]
    others = [
        torch.arange(each.units) if number == turn else orders[number]
        for number, each in enumerate(hidden)
    ]
    names = {place.name for place in layer.places}
    near = permuted({name: second[name] for name in names if name in second}, hidden, others)
    table = torch.zeros(layer.units, layer.units, dtype=torch.float64)
    for place in layer.places:
        if place.name in near:
            mine, theirs = (
                tensors[place.name].double().cpu().movedim(place.axis, 0).reshape(layer.units, -1)
                for tensors in (first, near)
            )  # (units, weights)
            table += mine @ theirs.T
    return table


def total(table: Tensor, order: Tensor) -> float:
    """Return the sum of the entries that an order selects."""
    return table[torch.arange(len(order)), order].sum().item()
