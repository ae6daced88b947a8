"""Weight matching of a network of three linear layers, by every order of every hidden layer.

Ainsworth, Hayase and Srinivasa, "Git Re-Basin", ICLR 2023, equation 1.
"""

from itertools import permutations


def likeness(first, second, orders):
    """Return the sum of products of two networks' weights, the second's hidden units in orders.

    Args:
        first: (weight, bias) of each layer.
        second: The same of another network.
        orders: Which unit of the second comes to each place, for each of the two hidden layers.
    """
    into = [range(first[0][0].shape[1]), *orders]
    out = [*orders, range(first[-1][0].shape[0])]
    total = 0.0
    for (mine, my_bias), (theirs, their_bias), rows, columns in zip(
        first, second, out, into, strict=True
    ):
        for i, row in enumerate(rows):
            total += float(my_bias[i] * their_bias[row])
            for j, column in enumerate(columns):
                total += float(mine[i, j] * theirs[row, column])
    return total


def best(first, second):
    """Return the highest likeness that any orders have."""
    units = [len(bias) for _, bias in first[:-1]]
    return max(
        likeness(first, second, (one, other))
        for one in permutations(range(units[0]))
        for other in permutations(range(units[1]))
    )


def best_of_one(first, second, orders, layer):
    """Return the highest likeness that any order of one layer has, the other's as it is."""
    found = []
    for order in permutations(range(len(orders[layer]))):
        tried = list(orders)
        tried[layer] = order
        found.append(likeness(first, second, tried))
    return max(found)
