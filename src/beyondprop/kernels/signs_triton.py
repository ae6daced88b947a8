"""Signs, and sums with them, as fused kernels for GPUs, compiled by Triton."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from beyondprop.kernels.signs import ROWS_OF_KERNEL as ROWS
from beyondprop.random import keys

GROUP = tl.constexpr(64)
"""Number of signs per word."""

OUTPUTS = 64
"""Number of outputs per program: with a word for each, its signs fit in registers."""

OPTIONS = {"enable_fp_fusion": True}
"""Products with signs are exact, fused or not; set here, as Triton's default depends on its
version."""

GOLDEN, FIRST, SECOND = (tl.constexpr(n) for n in (keys.GOLDEN, keys.FIRST, keys.SECOND))


def signs(base: int, outputs: range, inputs: range, like: Tensor) -> Tensor:
    """See `signs.signs`."""
    first, groups = inputs.start // 64, -(-inputs.stop // 64) - inputs.start // 64
    found = like.new_empty(len(outputs), 64 * groups)
    grid = (groups * triton.cdiv(len(outputs), OUTPUTS),)
    with torch.cuda.device_of(like):
        root, count = root_of(base, like), len(outputs)
        fill[grid](root, outputs.start, first, found, count, groups, OUTPUTS, **OPTIONS)
    return found[:, : len(inputs)]


def signed_sums(base: int, x: Tensor, width: int, transposed: bool) -> Tensor:
    """See `signs.signed_sums`."""
    x, found = x.detach().contiguous(), x.new_empty(len(x), width)
    rows = 1 if len(x) == 1 else ROWS
    kernel, side = (add_back, 64) if transposed else (add, OUTPUTS)
    grid = (triton.cdiv(width, side) * triton.cdiv(len(x), rows),)
    with torch.cuda.device_of(x):
        root = root_of(base, x)
        kernel[grid](root, x, found, len(x), x.shape[1], width, OUTPUTS, rows, **OPTIONS)
    return found


def root_of(base: int, like: Tensor) -> Tensor:
    """Return a base as a tensor, because Triton chooses the type of a number by its size."""
    return torch.full((), keys.signed(base), dtype=torch.int64, device=like.device)


@triton.jit
def spread(z):  # type: ignore[no-untyped-def]
    """See `keys.spread`; uint64."""
    z = z + GOLDEN
    z = (z ^ (z >> 30)) * FIRST
    z = (z ^ (z >> 27)) * SECOND
    return z ^ (z >> 31)


@triton.jit
def signs_of(output_keys, group, like):  # type: ignore[no-untyped-def]
    """Return the signs of a group of 64 inputs, (64, outputs), from the outputs' keys."""
    words = spread(output_keys + group.to(tl.uint64) * GOLDEN)
    drawn = words[None, :] >> tl.arange(0, GROUP).to(tl.uint64)[:, None]
    return tl.where((drawn & 1) != 0, 1.0, -1.0).to(like)


@triton.jit
def keys_of(root, outputs):  # type: ignore[no-untyped-def]
    """Return the keys of outputs, int64."""
    return spread(root.to(tl.uint64) ^ outputs.to(tl.uint64))


@triton.jit  # type: ignore[untyped-decorator]
def summed(sums, x, signs, rows: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return sums plus a product, (rows, n) + (rows, k) @ (k, n), in full precision."""
    if rows == 1:
        return sums + tl.sum(tl.trans(x) * signs, 0)[None, :]
    return tl.dot(x, signs, sums, input_precision="ieee", out_dtype=sums.dtype)


@triton.jit  # type: ignore[untyped-decorator]
def fill(  # type: ignore[no-untyped-def]
    root, first_output, first_group, found, outputs, groups, block: tl.constexpr
):
    """Write the signs of outputs, (outputs, 64 groups), starting at an output and a group."""
    group = tl.program_id(0).to(tl.int64) % groups
    rows = tl.program_id(0).to(tl.int64) // groups * block + tl.arange(0, block)
    output_keys = keys_of(tl.load(root), rows + first_output)
    signs = signs_of(output_keys, group + first_group, found.dtype.element_ty)
    places = (rows[None, :] * groups + group) * GROUP + tl.arange(0, GROUP)[:, None]
    tl.store(found + places, signs, mask=(rows < outputs)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def add(  # type: ignore[no-untyped-def]
    root, x, found, count, inputs, width, block: tl.constexpr, rows: tl.constexpr
):
    """Write a block of outputs of some rows: all inputs, (count, inputs), times their signs."""
    blocks = tl.cdiv(width, block)
    some = tl.program_id(0).to(tl.int64) // blocks * rows + tl.arange(0, rows)[:, None]
    outputs = tl.program_id(0).to(tl.int64) % blocks * block + tl.arange(0, block)
    output_keys = keys_of(tl.load(root), outputs)
    sums = tl.zeros((rows, block), x.dtype.element_ty)
    group = tl.zeros((), tl.int64)
    while group * GROUP < inputs:  # the interpreter cannot count a range of this length
        into = group * GROUP + tl.arange(0, GROUP)[None, :]
        here = tl.load(x + some * inputs + into, mask=(some < count) & (into < inputs), other=0)
        sums = summed(sums, here, signs_of(output_keys, group, here.dtype), rows)
        group += 1
    inside = (some < count) & (outputs < width)[None, :]
    tl.store(found + some * width + outputs[None, :], sums, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def add_back(  # type: ignore[no-untyped-def]
    root, x, found, count, outputs, width, block: tl.constexpr, rows: tl.constexpr
):
    """Write a group of inputs of some rows: all outputs, (count, outputs), times their signs."""
    groups = tl.cdiv(width, GROUP)
    some = tl.program_id(0).to(tl.int64) // groups * rows + tl.arange(0, rows)[:, None]
    group = tl.program_id(0).to(tl.int64) % groups
    sums = tl.zeros((rows, GROUP), x.dtype.element_ty)
    start = tl.zeros((), tl.int64)
    while start < outputs:
        out = start + tl.arange(0, block)
        inside = (some < count) & (out < outputs)[None, :]
        here = tl.load(x + some * outputs + out[None, :], mask=inside, other=0)
        signs = signs_of(keys_of(tl.load(root), out), group, here.dtype)
        sums = summed(sums, here, tl.trans(signs), rows)
        start += block
    into = group * GROUP + tl.arange(0, GROUP)[None, :]
    tl.store(found + some * width + into, sums, mask=(some < count) & (into < width))
