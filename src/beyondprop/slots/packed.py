"""A converted model in a small file: the index of each weight's fixed value, and a seed."""

import os
from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from beyondprop.engine.attach import attachment_of
from beyondprop.errors import UserError, check_type
from beyondprop.files import path_of, write_bytes
from beyondprop.slots import contents, layers, packed_file, packed_header
from beyondprop.slots.machine import machine_of, required
from beyondprop.slots.packed_file import PackedFile

Model = TypeVar("Model", bound=nn.Module)


def pack(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a converted model to a file with a few bits for each weight.

    The file holds the option of each converted weight, ``ceil(log2 K)`` bits for K options, the
    settings that its values are drawn from, and all other parameters and saved buffers unchanged.
    For weights that are redrawn in each forward pass, the values with the highest scores are
    packed. The same model gives the same bytes.

    Args:
        model: A converted model, which can be trained further afterwards.
        path: The safetensors file; an earlier file is replaced atomically.

    Raises:
        UserError: The model was not converted, a weight is not one of its fixed values, the model
            contains NaN, or the file cannot be written.
    """
    machine, target = required(model), path_of(path)
    machine.write_random()
    content = packed_file.encode(packed_header.write(machine), contents.take(machine))
    write_bytes(target, content)


def load(path: str | os.PathLike[str], model: Model) -> Model:
    """Load a packed model's exact weights into a model; return it.

    It becomes an ordinary model, like that of ``slots.freeze(packed)``: the weights that were
    converted do not learn, and removed biases and affine parts are also removed here. The values
    are drawn from the seed in the file, on the model's device; PyTorch's random generators are not
    used. Everything is checked before the model is changed.

    Args:
        path: A file that `pack` wrote.
        model: A new model of the same architecture and dtype that is not converted.

    Returns:
        The model.

    Raises:
        UserError: The file is damaged, was changed, or does not fit the model.
    """
    check_type("the model", model, nn.Module, "a torch.nn.Module")
    file = packed_file.read(path_of(path))
    state = _fitting(file, model)
    _try_to_write(state)
    _fill(file, model, state)
    return model


@torch.no_grad()
def _try_to_write(state: dict[str, Tensor]) -> None:
    """Check that all tensors are writable, by writing each tensor's own content to it."""
    for name, tensor in state.items():
        try:
            tensor.copy_(tensor.clone())
        except RuntimeError:
            raise UserError(
                f"'{name}' cannot be written to (it is expanded, or was made in inference mode): "
                "give a model whose tensors have their own memory"
            ) from None


@torch.no_grad()
def _fill(file: PackedFile, model: nn.Module, state: dict[str, Tensor]) -> None:
    for full in file.fields.removed:
        layer, _, name = full.rpartition(".")
        layers.take_out(model.get_submodule(layer), name)
    for reel in file.fields.reels:
        weight = state[reel.name].requires_grad_(False)
        weight.grad = None
        source, packed = file.fields.source(reel), file.contents.chosen[reel.name]
        weight.copy_(contents.weights_from(file.fields.kind, source, packed, weight))
    for name, tensor in file.contents.free.items():
        state[name].copy_(tensor)


def _fitting(file: PackedFile, model: nn.Module) -> dict[str, Tensor]:
    """Return the model's tensors by their names in the file, after checking that all fit."""
    if any(machine_of(module) is not None for module in model.modules()):
        raise UserError("the model is converted already: give an unconverted model to load into")
    if attachment_of(model) is not None:
        raise UserError("the model has rules attached: load into it first, then attach")
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise UserError("the model has weights without a shape: run it once on a batch first")
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise UserError("the model has no memory: call model.to_empty(device='cpu') first")
    kind, problems = type(model).__name__, list(_strangers(file, model))
    if not problems:
        state, tied = _state(file, model)
        problems = list(_differences(file, state, tied))
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{file.path} does not fit this {kind}: {'; '.join(problems[:3])}{more}")
    return state


def _state(file: PackedFile, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, str]]:
    present = {*file.contents.free, *file.fields.tied}
    gone = [name for name in file.fields.removed if name not in present]
    return contents.state_of(model, list(file.contents.chosen), gone)


def _strangers(file: PackedFile, model: nn.Module) -> Iterator[str]:
    own = dict(model.named_parameters(remove_duplicate=False))
    yield from (f"it has no parameter '{n}'" for n in file.contents.chosen if n not in own)
    for full in file.fields.removed:
        path, _, name = full.rpartition(".")
        layer = model.get_submodule(path) if full in own else model
        if full not in own or name not in layers.offsets_of(layer):
            yield f"it has no '{full}' to remove"
        elif (full in {*file.contents.free, *file.fields.tied}) != isinstance(
            layer, (nn.RNNBase, nn.RNNCellBase)
        ):
            yield f"'{full}' is both removed and kept"


def _differences(file: PackedFile, state: dict[str, Tensor], tied: dict[str, str]) -> Iterator[str]:
    free, reels = file.contents.free, file.fields.reels
    for name, _ in sorted(tied.items() ^ file.fields.tied.items()):
        yield f"'{name}' is tied to different parameters in the file and in the model"
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in free.items()}
    expected |= {reel.name: (reel.shape, reel.dtype) for reel in reels}
    for name in sorted(expected.keys() ^ state.keys()):
        where = "the file" if name in state else "the model"
        yield f"'{name}' is not in {where}"
    for name in sorted(expected.keys() & state.keys()):
        (shape, dtype), own = expected[name], state[name]
        if own.shape != shape:
            yield f"'{name}' is {tuple(shape)} in the file and {tuple(own.shape)} in the model"
        elif own.dtype != dtype:
            yield f"'{name}' is {dtype} in the file and {own.dtype} in the model: call model.to()"
