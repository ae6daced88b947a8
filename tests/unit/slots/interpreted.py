"""Runs Triton's kernel in its interpreter, which must be asked for before anything is imported.

Prints a line for every case in which it writes something else than plain PyTorch does, then "done".
"""

import os

os.environ["TRITON_INTERPRET"] = "1"

import torch

from beyondprop.kernels.registry import DTYPES
from beyondprop.slots import staircase
from beyondprop.slots.source import Source
from beyondprop.slots.staircase import FusedStaircase, PlainStaircase
from beyondprop.slots.values import GlorotUniform, PerConnection


def compare(name, drawn, at, kept, weights=None):
    expected, gave = torch.empty_like(at), torch.empty_like(at) if weights is None else weights
    PlainStaircase(drawn).write(at, kept, expected)
    before = gave._version
    FusedStaircase(drawn).write(at, kept, gave)
    if not torch.equal(gave, expected):
        print(f"{name}: {int((gave != expected).sum())} of {gave.numel()} differ")
    if gave._version == before:
        print(f"{name}: autograd was not told")


def source(planes, shape, seed=0):
    values, sharing = GlorotUniform(), PerConnection()
    return Source(seed, 9, torch.Size(shape), planes, values, sharing, 0.2, 0.05)


staircase.compiler_for = lambda at: "triton" if at.dtype in DTYPES else ""
torch.manual_seed(0)
for dtype in (torch.float32, torch.float64):
    for planes, shape in ((2, (1,)), (3, (1023,)), (8, (30, 50)), (16, (3, 5, 7))):
        for kept in (1.0, 1 / 3, 0.0, -0.7):
            at = 0.1 * torch.randn(shape, dtype=dtype)
            compare(f"{dtype} {planes} {shape} {kept}", source(planes, shape), at, kept)

at = torch.randn(30, 50)
at[:5], at[5:10], at[10:15] = torch.nan, torch.inf, -torch.inf
compare("not finite", source(4, (30, 50)), at, 1.0)
compare("transposed weights", source(4, (30, 50)), at, 1.0, torch.empty(50, 30).t())
compare("transposed numbers", source(4, (30, 50)), torch.randn(50, 30).t(), 1.0)
compare("half precision", source(4, (30, 50)), torch.randn(30, 50).bfloat16(), 1.0)
print("done")
