"""Several tasks in one network of fixed random values, with one selection for each task."""

import os
from pathlib import Path
from urllib.parse import quote, unquote

from torch import Tensor, nn

from beyondprop.errors import UserError, check_type
from beyondprop.files import path_of, write_bytes
from beyondprop.slots import contents, packed_file, packed_header, task_inference
from beyondprop.slots.contents import Contents
from beyondprop.slots.machine import Machine, required

SUFFIX = ".safetensors"
LONGEST = 200
"""The maximum length of a task's name in a file name."""


class Bank:
    """One network of fixed random values, with one selection of them for each task.

    The state of each task is stored separately, so that learning another task cannot change it: its
    selection, and everything else in the model, such as batch statistics and excluded layers. For
    each task:

    1. ``bank.restart()``;
    2. a new optimizer, ``slots.drive(SGD(model.parameters(), lr=0.1), model)``, and training;
    3. ``bank.keep(task)``.

    ``bank.use(task)`` restores that task's model exactly. A later optimizer step raises an error,
    because its scores belong to another selection: call `restart` before training a task. If the
    task is not known, `infer` infers it.

    Args:
        model: A converted model, in the initial state of each task.

    Attributes:
        machine: The machine that `convert` returned.
        start: The initial state of each task, apart from the initial scores.
        states: The packed choices of every task, and everything that is not chosen.

    Raises:
        UserError: The model was not converted, or redraws its weights in each forward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self.machine = required(model)
        if any(reel.kind.random for reel in self.machine.reels):
            raise UserError(
                "a bank stores one choice for each weight, but these weights are redrawn in each "
                "forward pass: convert with slots.Greedy()"
            )
        self.start = contents.take(self.machine).free
        self.states: dict[str, Contents] = {}
        self._unsaved_start = contents.unsaved(model)
        self._unsaved: dict[str, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.states)

    @property
    def tasks(self) -> list[str]:
        """The stored tasks, in order."""
        return list(self.states)

    @property
    def bits(self) -> int:
        """The number of bits in a selection for each converted weight."""
        return self.machine.reels[0].kind.bits

    def size(self, task: str) -> int:
        """Return the size of a stored task in bytes."""
        state = self._of(task)
        tensors = (*state.chosen.values(), *state.free.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def restart(self) -> None:
        """Start a new task from the initial scores and the model's state at the bank's creation.

        An optimizer that drives the model would keep its momentum: create a new one.
        """
        self.machine.restart()
        contents.put_free(self.machine, self.start)
        contents.put_buffers(self.machine.model, self._unsaved_start)

    def keep(self, task: str) -> None:
        """Store the model's state under a task's name; replaces an earlier state of the task.

        Raises:
            UserError: A weight is not one of its fixed values, or the task's name cannot be part of
                a file name.
        """
        _check_name(task)
        self.states[task] = contents.take(self.machine)
        self._unsaved[task] = contents.unsaved(self.machine.model)

    def use(self, task: str) -> None:
        """Load a task's state into the model; learning that was not stored is lost.

        Raises:
            UserError: The task was not stored.
        """
        state = self._of(task)
        for reel in self.machine.reels:
            reel.checked = False  # a step would use other scores, so the check rejects it
        contents.put(self.machine, state)
        contents.put_buffers(self.machine.model, self._unsaved.get(task, {}))

    def infer(self, inputs: Tensor) -> str:
        """Return the task of unlabelled inputs, which all belong to one task, by `one_shot`.

        Raises:
            UserError: No task was stored, or the model does not return logits.
        """
        check_type("the inputs", inputs, Tensor, "a tensor")
        return task_inference.one_shot(self.machine, self._states(), inputs)

    def infer_each(self, inputs: Tensor) -> str:
        """Return the same as `infer`, but by `lowest_entropy`, which runs every task."""
        check_type("the inputs", inputs, Tensor, "a tensor")
        return task_inference.lowest_entropy(self.machine, self._states(), inputs)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a packed file for each task, ``task-NAME.safetensors``, which `load` can read.

        Raises:
            UserError: The folder holds files of other tasks, or cannot be written.
        """
        _save(path_of(folder), self.machine, self._states())

    def _of(self, task: str) -> Contents:
        check_type("the task", task, str, "a text")
        if task not in self.states:
            known = ", ".join(self.states) or "none yet"
            raise UserError(f"the bank has no task '{task}'; it has: {known}")
        return self.states[task]

    def _states(self) -> dict[str, Contents]:
        if not self.states:
            raise UserError("the bank has no task yet: train one, then call bank.keep(task)")
        return self.states


def bank(model: nn.Module) -> Bank:
    """Return a `Bank` of a converted model, which stores one selection for each task."""
    return Bank(model)


def load_bank(folder: str | os.PathLike[str], model: nn.Module) -> Bank:
    """Return the bank that `Bank.save` wrote; the model does not change until a task is used.

    Args:
        folder: The folder of the saved bank.
        model: A model of the same architecture, converted with the same seed and settings.

    Raises:
        UserError: There are no tasks, or a file is damaged or does not fit the model.
    """
    loaded = Bank(model)
    loaded.states = _load(path_of(folder), loaded.machine, loaded.start)
    return loaded


def _check_name(task: str) -> None:
    check_type("the task", task, str, "a text")
    try:
        named = quote(task, safe="")
    except UnicodeError:
        raise UserError(
            f"the task {task!r} has letters that file names cannot have: choose another name"
        ) from None
    if len(named) > LONGEST:
        raise UserError(
            f"the task's name must have at most {LONGEST} letters in a file name: {named[:20]!r}"
        )


def _save(folder: Path, machine: Machine, states: dict[str, Contents]) -> None:
    """Write ``task-NAME.safetensors`` for each task, with a URL-quoted name; see `Bank.save`."""
    files = {task: folder / f"task-{quote(task, safe='')}{SUFFIX}" for task in states}
    strange = [file.name for file in _files(folder) if file not in files.values()]
    if strange:
        raise UserError(f"{folder} holds {strange[0]} of another bank: choose another folder")
    if len({task.lower() for task in states}) < len(states):
        raise UserError(
            "some tasks differ only in upper and lower case, which not all disks distinguish: "
            "rename them"
        )
    header = packed_header.write(machine)
    for task, state in states.items():
        write_bytes(files[task], packed_file.encode(header, state))


def _load(folder: Path, machine: Machine, free: dict[str, Tensor]) -> dict[str, Contents]:
    """Return every task of a folder, in alphabetical order; see `load_bank`.

    Args:
        folder: The folder that `_save` wrote.
        machine: The machine that the tasks must fit.
        free: Everything that is not chosen in its model.
    """
    header, states = packed_header.write(machine), {}
    for path in _files(folder):
        file = packed_file.read(path)
        differing = [key for key in header if header[key] != file.header[key]]
        if _shapes(file.contents.free) != _shapes(free):
            differing.append("parameters that are not chosen")
        if differing:
            raise UserError(
                f"{path} belongs to another network, as its {', '.join(differing)} differ: convert "
                "the same model with the same seed and settings"
            )
        task = unquote(path.name.removesuffix(SUFFIX).removeprefix("task-"))
        if task in states:
            raise UserError(f"{path} is a second file of the task '{task}': remove one of them")
        states[task] = file.contents
    if not states:
        raise UserError(f"{folder} holds no packed tasks: write them with bank.save(folder)")
    return states


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"task-*{SUFFIX}"))


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
