"""The learning rate that serves a way to train best."""

from collections.abc import Callable, Sequence

from benchmarks.common.cached_runs import Figures
from beyondprop.experiment.rates import MORE, best, beyond


def searched(rates: Sequence[float], way: Callable[[float], Figures]) -> Figures:
    """Return what the best learning rate reaches; further ones are tried as those of `distil`."""
    found = {rate: way(rate) for rate in rates}
    for _ in range(MORE):
        found |= {rate: way(rate) for rate in beyond(found)}
    return best(found)
