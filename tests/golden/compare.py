"""Compare with all tensors of a former day, bit for bit: ``python -m tests.golden.compare FOLDER``.

The folder is one that ``python -m tests.golden.make FOLDER`` wrote, on the same machine with the
same PyTorch. Ends with status 1 where anything differs.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.golden.make import cases_of, in_full
from tests.golden.values import values

SHOWN = 20


def main(folder: Path) -> int:
    """Print what differs, for each rule of that day; return 1 where anything does, else 0."""
    torch.set_num_threads(1)
    return max([compared(f.stem, load_file(f)) for f in sorted(folder.glob("*.safetensors"))])


def compared(rule: str, before: dict[str, Tensor]) -> int:
    """Print what differs in one rule; return 1 where anything does, else 0."""
    now = dict(in_full({case: values(case, rule) for case in cases_of(rule)}))
    names = list(dict.fromkeys([*before, *now]))
    far = {n: distance(before.get(n), now.get(n)) for n in names}
    other = [name for name in names if far[name] is not None]
    equal = len(names) - len(other)
    worst = max((far[name] for name in other), default=0.0)
    print(f"{rule}: {len(names)} tensors, {equal} equal to the bit, worst difference {worst:.1e}")
    if other:
        print(f"  in cases {', '.join(dict.fromkeys(name.partition('/')[0] for name in other))}")
    for name in other[:SHOWN]:
        print(f"    {name}: {far[name]:.1e}{missing(name, before, now)}")
    return int(bool(other))


def distance(before: Tensor | None, now: Tensor | None) -> float | None:
    """Return None where two tensors have the same bits, else how far they lie apart.

    That is the largest difference over the largest value of both, infinite where the shapes differ
    or one is missing. It is large too where a gradient is zero but for rounding, such as that of a
    bias before a norm.
    """
    if before is None or now is None or (before.shape, before.dtype) != (now.shape, now.dtype):
        return torch.inf
    if before.numpy().tobytes() == now.numpy().tobytes():
        return None
    largest = torch.maximum(before.abs().max(), now.abs().max())
    return float((before - now).abs().max() / largest) if largest else 0.0  # zeros of other signs


def missing(name: str, before: dict[str, Tensor], now: dict[str, Tensor]) -> str:
    """Return a remark where one of the two has no such tensor."""
    return " (was not there)" if name not in before else " (is gone)" if name not in now else ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
