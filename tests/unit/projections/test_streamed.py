"""Signs that are never stored: the same map as `Signs`, by a bounded memory."""

import os
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import beyondprop as bp
from beyondprop.kernels import registry, signs
from beyondprop.projections import (
    Signs,
    Streamed,
)
from beyondprop.random import keys

TYPES = [torch.float32, torch.float64]


def fused(base, x, width):
    pytest.importorskip("numba")
    from beyondprop.kernels import signs_numba

    return signs_numba.signed_sums(base, x, width)


def plain(base, x, width):
    return signs.plain_signed_sums(base, x, width, False)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("form", [fused, plain])
@pytest.mark.parametrize("widths", [(1, 1), (63, 65), (64, 64), (200, 5000), (5000, 130)])
def test_every_form_is_the_product(form, dtype, widths):
    x = torch.randn(3, widths[0], dtype=dtype)
    expected = x @ signs.plain_signs(9, range(widths[1]), range(widths[0]), x).t()
    torch.testing.assert_close(form(9, x, widths[1]), expected, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("form", [fused, plain])
@pytest.mark.parametrize("place", [0, 7, 8, 63, 64, 129])
def test_a_single_number_goes_through_exactly(form, place):
    x = torch.zeros(1, 130)
    x[0, place] = 0.1
    drawn = signs.plain_signs(2**64 - 1, range(300), range(130), x)
    assert torch.equal(form(2**64 - 1, x, 300), drawn[:, place].unsqueeze(0) * x[0, place])


@pytest.mark.parametrize("number", [torch.inf, torch.nan])
@pytest.mark.parametrize("form", [fused, plain])
def test_numbers_that_are_not_finite_arrive(form, number):
    x = torch.randn(2, 130)
    x[1, 70] = number
    assert form(1, x, 300)[0].isfinite().all()
    assert not form(1, x, 300)[1].isfinite().any()


def test_the_fused_loop_on_threads(monkeypatch):
    signs_numba = pytest.importorskip("beyondprop.kernels.signs_numba")
    x = torch.randn(2, 500)
    alone = signs_numba.signed_sums(4, x, 10007)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(signs_numba, "SHARE", 2**10)
    assert torch.equal(signs_numba.signed_sums(4, x, 10007), alone)  # outputs do not meet


@pytest.mark.parametrize("rows", [1, 300])
def test_it_is_the_map_of_signs(rows):
    x = torch.randn(rows, 1000, dtype=torch.float64)
    torch.testing.assert_close(Streamed(7).project(x, 700, 3), Signs(7).project(x, 700, 3))
    assert torch.equal(Streamed(7).matrix(100, 70, 3, x), Signs(7).matrix(100, 70, 3, x))


def test_what_lies_in_memory_in_any_order_or_needs_a_gradient():
    x = torch.randn(1000, 2).t().requires_grad_()
    found = Streamed(7).project(x, 700, 3)
    torch.testing.assert_close(found, Signs(7).project(x, 700, 3), rtol=1e-4, atol=1e-5)
    assert found.requires_grad


def test_second_gradients():
    x = torch.randn(2, 70, dtype=torch.float64, requires_grad=True)
    for width in (5, 90):
        assert torch.autograd.gradgradcheck(lambda x, w=width: Streamed(1).project(x, w, 0), x)


class Largest(TorchDispatchMode):
    """Remembers how many bytes the largest tensor has that an operation returns."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for made in tree_leaves(found):
            if isinstance(made, torch.Tensor):
                self.bytes = max(self.bytes, made.untyped_storage().nbytes())
        return found


@pytest.mark.parametrize("form", ["fused", "plain"])
@pytest.mark.parametrize(("rows", "width"), [(1, 2**10), (8, 2**7)])
def test_nothing_larger_than_a_tile_is_stored(rows, width, form, monkeypatch):
    """Up to 2^25 entries, 128 MB; no tensor has more than 8 bytes for each sign of a tile."""
    if form == "plain":
        monkeypatch.setattr(registry, "installed", lambda _: False)
    made, x = Streamed(1), torch.randn(rows, 2**15, requires_grad=True)
    with Largest() as largest:
        made.project(x, width, 0).sum().backward()
    assert largest.bytes <= 8 * signs.TILE
    assert not getattr(made, "_drawn", None)


def test_a_million_outputs():
    x = torch.randn(64)
    found = Streamed(1).project(x, 2**20, 0)
    assert abs(found.norm() / x.norm() - 1) < 0.01
    last = signs.plain_signs(keys.key(1, 0), range(2**20 - 5, 2**20), range(64), x) @ x
    torch.testing.assert_close(found[-5:] * 2**10, last, rtol=1e-4, atol=1e-5)


def test_whole_numbers_are_refused():
    with pytest.raises(bp.UserError, match=r"use x\.float\(\)"):
        Streamed().project(torch.ones(3, dtype=torch.int64), 5, 0)


FORKED = """
import os, signal, torch
from beyondprop.kernels import signs_numba
torch.set_num_threads(2)
signs_numba.SHARE = 2**10
x = torch.ones(2, 640)
expected = signs_numba.signed_sums(4, x, 5000)
child = os.fork()
if not child:
    signal.alarm(60)  # it would wait for ever
    os._exit(not torch.equal(signs_numba.signed_sums(4, x, 5000), expected))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own():
    pytest.importorskip("numba")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKED],  # a warning says that forking is a risk
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_there_are_as_many_threads_as_pytorch_has_now(monkeypatch):
    signs_numba = pytest.importorskip("beyondprop.kernels.signs_numba")
    counts, pool = [], signs_numba.pool
    monkeypatch.setattr(signs_numba, "SHARE", 2**10)
    monkeypatch.setattr(signs_numba, "pool", lambda *key: counts.append(key[1]) or pool(*key))
    for count in (2, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=count: count)
        signs_numba.signed_sums(4, torch.ones(2, 640), 5000)
        assert pool(os.getpid(), count)._max_workers == count
    assert counts == [2, 3]


def test_autocast_does_not_round_a_tile():
    x = torch.randn(300, 200)
    with torch.autocast("cpu"):
        found = Streamed(7).project(x, 70, 0)
    assert torch.equal(found, Streamed(7).project(x, 70, 0))
