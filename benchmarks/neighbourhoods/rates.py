"""Search for the best learning rate of a training method."""

from collections.abc import Callable, Sequence

from benchmarks.common.cached_runs import Figures
from beyondprop.experiment.rates import MORE, best, beyond


def searched(rates: Sequence[float], way: Callable[[float], Figures]) -> Figures:
    """Return the result at the best learning rate; further rates are tried as in `distil`."""
    found = {rate: way(rate) for rate in rates}
    for _ in range(MORE):
        found |= {rate: way(rate) for rate in beyond(found)}
    return best(found)
