"""Runs Triton's kernels in its interpreter, which must be asked for before anything is imported.

Prints a line for every case in which they make something else than plain PyTorch does, then "done".
"""

import os

os.environ["TRITON_INTERPRET"] = "1"

import torch

from beyondprop.kernels import registry, signs_triton
from beyondprop.kernels import signs as kernels
from beyondprop.projections import (
    Hadamard,
    Signs,
    Streamed,
)

BASES = 0, 9, 2**63, 2**64 - 1
TYPES = torch.float32, torch.float64


def check(name, found, expected):
    if not torch.equal(found, expected):
        print(f"{name}: {int((found != expected).sum())} of {found.numel()} differ")


def noted(function, name, calls):
    """Return a function that notes its calls."""
    return lambda *args: (calls.append(name), function(*args))[1]


def signs():
    """They are the same bits, wherever a part of the matrix begins."""
    for base in BASES:
        for outputs, inputs in (
            (range(1), range(1)),
            (range(3, 70), range(64, 200)),
            (range(2**40, 2**40 + 128), range(2**34, 2**34 + 128)),
        ):
            for dtype in TYPES:
                like = torch.zeros(1, dtype=dtype)
                found = signs_triton.signs(base, outputs, inputs, like)
                expected = kernels.plain_signs(base, outputs, inputs, like)
                check(f"signs {base} {outputs} {inputs} {dtype}", found, expected)


def products():
    """Of small whole numbers sums are exact, in any order."""
    for rows, inputs, outputs in (
        (1, 1, 1),
        (1, 130, 65),
        (2, 63, 300),
        (17, 64, 64),
        (40, 200, 70),
    ):
        for dtype in TYPES:
            for base in BASES[1::2]:
                x = torch.randint(-9, 10, (rows, inputs)).to(dtype)
                drawn = kernels.plain_signs(base, range(outputs), range(inputs), x)
                found = signs_triton.signed_sums(base, x, outputs, False)
                name = f"{rows} {inputs} {outputs} {dtype} {base}"
                check(f"product {name}", found, x @ drawn.t())
                check(
                    f"transposed {name}",
                    signs_triton.signed_sums(base, found, inputs, True),
                    found @ drawn,
                )


def numbers():
    """Sums that are rounded, of numbers in any order, differ in the last digits at the most."""
    x = torch.randn(500, 3).t()
    exact = x.double() @ kernels.plain_signs(4, range(70), range(500), x.double()).t()
    error = (signs_triton.signed_sums(4, x, 70, False) - exact).abs().max()
    if error > 1e-4:
        print(f"an error of {error}")
    x[1, 70] = torch.nan
    finite = signs_triton.signed_sums(4, x, 70, False).isfinite()
    if finite[1].any() or not finite[[0, 2]].all():
        print("what is not finite arrives at a wrong place")


def projections():
    """As they are used on a GPU, with gradients."""
    x = torch.randn(2, 3, 100, dtype=torch.float64, requires_grad=True)
    expected, map_of = Signs(7).project(x, 70, 3), Hadamard(7).matrix(100, 70, 3, x)
    matrix = Signs(7).matrix(100, 70, 3, x)
    (back,) = torch.autograd.grad(expected.square().sum(), x)
    for module in (registry, kernels):
        module.compiler_for = lambda _: "triton"
    calls = []
    for name in ("signs", "signed_sums"):
        setattr(signs_triton, name, noted(getattr(signs_triton, name), name, calls))
    found = Streamed(7).project(x, 70, 3)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.square().sum(), x)
    torch.testing.assert_close(gradient, back)
    if not torch.autograd.gradgradcheck(lambda x: Streamed(1).project(x, 5, 0), x[0, :2, :9]):
        print("second gradients differ")
    if Streamed(7).project(x[:0], 70, 3).shape != (0, 3, 70):
        print("no rows")
    half = Streamed(7).project(x.bfloat16(), 70, 3)
    torch.testing.assert_close(half.double(), expected, rtol=0.1, atol=0.1)
    check("Signs", Signs(7).matrix(100, 70, 3, x), matrix)
    check("Hadamard", Hadamard(7).matrix(100, 70, 3, x), map_of)
    if set(calls) != {"signs", "signed_sums"}:
        print(f"what was called: {sorted(set(calls))}")


torch.manual_seed(0)
for part in (signs, products, numbers, projections):
    part()
print("done")
