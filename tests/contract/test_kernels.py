"""Every compiled form of every operation makes what the plain one makes, to the bit."""

from functools import partial

import pytest
import torch

from beyondprop.kernels.highest_lines import HIGHEST_LINES, Lines
from beyondprop.kernels.registry import DTYPES, installed
from beyondprop.kernels.signs import SIGNED_SUMS, SIGNS

BASES = (0, 9, 2**63, 2**64 - 1)


def signs(form, dtype):
    """Yield signs from many places of a matrix."""
    like = torch.zeros(1, dtype=dtype)
    for base in BASES:
        for outputs, inputs in (
            (range(1), range(1)),
            (range(3, 70), range(64, 200)),
            (range(2**40, 2**40 + 9), range(2**34, 2**34 + 128)),
        ):
            yield form(base, outputs, inputs, like)


def signed_sums(form, dtype):
    """Yield sums of small whole numbers, which are exact in any order."""
    generator = torch.Generator().manual_seed(0)
    for rows, inputs, outputs in ((1, 1, 1), (1, 130, 65), (2, 63, 300), (17, 64, 64)):
        x = torch.randint(-8, 9, (rows, inputs), generator=generator).to(dtype)
        yield form(9, x, outputs, False)


def highest_lines(form, dtype):
    """Yield the slopes of the highest lines, also where numbers are not finite."""
    generator = torch.Generator().manual_seed(0)
    for planes, shape in ((2, (1,)), (3, (1023,)), (8, (30, 50)), (16, (3, 5, 7))):
        at = 0.1 * torch.randn(shape, generator=generator, dtype=dtype)
        at.view(-1)[::7] = torch.inf
        for kept in (1.0, 1 / 3, 0.0, -0.7):
            weights = torch.full_like(at, torch.nan)
            form(at, kept, weights, Lines(3, 9, planes, 0.2, 0.05))
            yield weights


CASES = {SIGNS: signs, SIGNED_SUMS: signed_sums, HIGHEST_LINES: highest_lines}
FORMS = [(operation, compiler) for operation in CASES for compiler in operation.compiled]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("operation", "compiler"), FORMS, ids=[f"{o.name}-{compiler}" for o, compiler in FORMS]
)
def test_every_form_makes_what_the_plain_one_makes(operation, compiler, dtype):
    if compiler == "triton":
        pytest.skip("kernels for GPUs are compared in test_*_triton.py, in Triton's interpreter")
    if not installed(compiler):
        pytest.skip(f"{compiler} is not installed")
    make = partial(CASES[operation], dtype=dtype)
    pairs = zip(make(operation.form(compiler)), make(operation.plain), strict=True)
    assert all(torch.equal(found, expected) for found, expected in pairs)


def test_a_tensor_that_nothing_compiles_for_gets_the_plain_form():
    assert SIGNS.form_for(torch.zeros(1, dtype=torch.bfloat16)) is SIGNS.plain
    assert SIGNS.form_for(torch.zeros(1, device="meta")) is SIGNS.plain
