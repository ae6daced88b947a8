"""Triton's kernel without a GPU: in the interpreter, and as the code that a GPU would run."""

import re
from pathlib import Path

import pytest
import torch

from beyondprop.slots import GlorotUniform, PerConnection, staircase
from beyondprop.slots.source import Source
from beyondprop.slots.staircase import FusedStaircase
from tests.fresh import python

triton = pytest.importorskip(
    "triton", reason="Triton comes with PyTorch for GPUs and is not installed here"
)


def test_in_the_interpreter_it_writes_what_plain_pytorch_writes():
    assert python(str(Path(__file__).with_name("interpreted.py"))) == ["done"]


@pytest.mark.parametrize("dtype", ["fp32", "fp64"])
def test_products_and_sums_are_rounded_one_by_one(dtype):
    """The code for a GPU has no fused multiply-add, as the option sees to."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from beyondprop.kernels import highest_lines_triton

    if "nvidia" not in triton.backends.backends:
        pytest.skip("this Triton does not compile for CUDA")
    pointers = dict.fromkeys(("at", "kept", "weights"), f"*{dtype}") | {"keys": "*i64"}
    numbers = {"value": "fp32", "score": "fp32", "size": "i32"}
    constants = {"planes": 8, "block": 1024}
    signature = pointers | numbers | dict.fromkeys(constants, "constexpr")
    found = {}
    for fused in (False, True):
        code = ASTSource(highest_lines_triton.fill, signature, constants)
        options = {"enable_fp_fusion": fused}
        compiled = triton.compile(code, target=GPUTarget("cuda", 80, 32), options=options)
        found[fused] = len(re.findall(r"\bfma\.", compiled.asm["ptx"]))
    assert found[False] == 0
    assert found[True] > 0  # or the test would see nothing


def test_the_kernel_is_launched_without_fusion(monkeypatch):
    from beyondprop.kernels import highest_lines_triton

    options = {}

    class Kernel:
        def __getitem__(self, grid):
            return lambda *_, **given: options.update(given, grid=grid)

    monkeypatch.setattr(highest_lines_triton, "fill", Kernel())
    numbers = torch.zeros(50, 41)
    monkeypatch.setattr(staircase, "compiler_for", lambda _: "triton")
    FusedStaircase(source((50, 41))).write(numbers, 1.0, torch.empty(50, 41))
    assert options == {"enable_fp_fusion": False, "grid": (3,)}


def source(shape):
    values, sharing = GlorotUniform(), PerConnection()
    return Source(0, 9, torch.Size(shape), 4, values, sharing, 0.2, 0.05)


IMPORTS = """
import sys, torch, beyondprop, beyondprop.slots as slots
print(*(name for name in ("numba", "triton") if name in sys.modules))
model = torch.nn.Linear(4, 4)
slots.convert(model)
optimizer = slots.drive(torch.optim.SGD(model.parameters(), 0.1), model)
model(torch.ones(2, 4)).sum().backward()
optimizer.step()
print(*(name for name in sys.modules if name.endswith("_triton") and "beyondprop" in name))
"""


def test_nothing_is_imported_before_it_is_used():
    assert python("-c", IMPORTS) == []
