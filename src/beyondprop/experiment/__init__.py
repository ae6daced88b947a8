"""Experiments: a spec in, a folder with a record out.

`train` and `compare` need PyTorch and are imported on first use, so that the command line can show
its help at once.
"""

from typing import TYPE_CHECKING, Any

from beyondprop.experiment.spec import CompareSpec, RunSpec

if TYPE_CHECKING:
    from beyondprop.experiment.comparison import compare
    from beyondprop.experiment.run import train

__all__ = ["CompareSpec", "RunSpec", "compare", "train"]


def __getattr__(name: str) -> Any:
    if name == "train":
        from beyondprop.experiment.run import train

        return train
    if name == "compare":
        from beyondprop.experiment.comparison import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
