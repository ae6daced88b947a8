"""Many tasks in one network of fixed random values: a selection of them for each."""

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
"""Letters of a task's name, as a file has it."""


class Bank:
    """One network of fixed random values, and a selection of them for each task.

    What one task has learned is stored apart, so that learning another cannot change it: its
    selection, and all else that the model has, such as statistics of batches and layers that were
    excluded. For each task:

    1. ``bank.restart()``;
    2. a new optimizer, ``slots.drive(SGD(model.parameters(), lr=0.1), model)``, and training;
    3. ``bank.keep(task)``.

    ``bank.use(task)`` restores that task's model exactly. A later optimizer step is refused, as its
    scores are of another selection: call `restart` before a task. Where nobody tells the task,
    `infer` finds it.

    Args:
        model: A converted one, in the state that each task begins from.

    Attributes:
        machine: What `convert` returned.
        start: What each task begins from, besides the initial scores.
        states: Of every task its choices, packed, and all that is not chosen.

    Raises:
        UserError: It was not converted, or redraws its weights in each forward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self.machine = required(model)
        if any(reel.kind.random for reel in self.machine.reels):
            raise UserError(
                "a bank keeps one choice for each weight, and these are drawn again in each "
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
        """The kept tasks, in their order."""
        return list(self.states)

    @property
    def bits(self) -> int:
        """Bits that a selection takes for each converted weight."""
        return self.machine.reels[0].kind.bits

    def size(self, task: str) -> int:
        """Return the bytes that a kept task takes."""
        state = self._of(task)
        tensors = (*state.chosen.values(), *state.free.values())
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def restart(self) -> None:
        """Begin a new task: by the initial scores, and with all else as when the bank was made.

        An optimizer that drives the model would keep its momentum: make a new one.
        """
        self.machine.restart()
        contents.put_free(self.machine, self.start)
        contents.put_buffers(self.machine.model, self._unsaved_start)

    def keep(self, task: str) -> None:
        """Keep what the model has learned as a task's, in the place of what was kept before.

        Raises:
            UserError: Some weight is not among its fixed values, or the task has no name that a
                file can have.
        """
        _check_name(task)
        self.states[task] = contents.take(self.machine)
        self._unsaved[task] = contents.unsaved(self.machine.model)

    def use(self, task: str) -> None:
        """Make the model a task's; what was learned and not kept is gone.

        Raises:
            UserError: The task was not kept.
        """
        state = self._of(task)
        for reel in self.machine.reels:
            reel.checked = False  # a step would choose by other scores, and is refused
        contents.put(self.machine, state)
        contents.put_buffers(self.machine.model, self._unsaved.get(task, {}))

    def infer(self, inputs: Tensor) -> str:
        """Return which task inputs without labels, all of one, belong to: by `one_shot`.

        Raises:
            UserError: No task was kept, or the model returns no logits.
        """
        check_type("the inputs", inputs, Tensor, "a tensor")
        return task_inference.one_shot(self.machine, self._states(), inputs)

    def infer_each(self, inputs: Tensor) -> str:
        """Return the same by running every task, by `lowest_entropy`, with the same errors."""
        check_type("the inputs", inputs, Tensor, "a tensor")
        return task_inference.lowest_entropy(self.machine, self._states(), inputs)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a packed file for each task, ``task-NAME.safetensors``, which `load` reads too.

        Raises:
            UserError: The folder holds files of other tasks, or cannot be written.
        """
        _save(path_of(folder), self.machine, self._states())

    def _of(self, task: str) -> Contents:
        check_type("the task", task, str, "the name of one, a text")
        if task not in self.states:
            known = ", ".join(self.states) or "none yet"
            raise UserError(f"the bank keeps no task '{task}'; it keeps: {known}")
        return self.states[task]

    def _states(self) -> dict[str, Contents]:
        if not self.states:
            raise UserError("the bank keeps no task yet: train one, then call bank.keep(task)")
        return self.states


def bank(model: nn.Module) -> Bank:
    """Return a `Bank` of a converted model, which keeps a selection for each task."""
    return Bank(model)


def load_bank(folder: str | os.PathLike[str], model: nn.Module) -> Bank:
    """Return the bank that `Bank.save` wrote; the model stays as it is until a task is used.

    Args:
        folder: Where it was saved.
        model: One of the same architecture, converted with the same seed and settings.

    Raises:
        UserError: There are no tasks, or a file is damaged or does not fit the model.
    """
    loaded = Bank(model)
    loaded.states = _load(path_of(folder), loaded.machine, loaded.start)
    return loaded


def _check_name(task: str) -> None:
    check_type("the task", task, str, "named by a text")
    try:
        named = quote(task, safe="")
    except UnicodeError:
        raise UserError(f"the task {task!r} has letters that no file can have") from None
    if len(named) > LONGEST:
        raise UserError(
            f"the task's name is longer than a file's can be ({LONGEST} letters): {named[:20]!r}"
        )


def _save(folder: Path, machine: Machine, states: dict[str, Contents]) -> None:
    """Write ``task-NAME.safetensors`` for each task, its name as in a URL; see `Bank.save`."""
    files = {task: folder / f"task-{quote(task, safe='')}{SUFFIX}" for task in states}
    strange = [file.name for file in _files(folder) if file not in files.values()]
    if strange:
        raise UserError(f"{folder} holds {strange[0]} of another bank: choose another folder")
    if len({task.lower() for task in states}) < len(states):
        raise UserError("some tasks differ by capitals only, which not all disks tell apart")
    header = packed_header.write(machine)
    for task, state in states.items():
        write_bytes(files[task], packed_file.encode(header, state))


def _load(folder: Path, machine: Machine, free: dict[str, Tensor]) -> dict[str, Contents]:
    """Return every task of a folder, in alphabetical order; see `load_bank`.

    Args:
        folder: Where `_save` wrote.
        machine: What the tasks must fit.
        free: All that is not chosen in its model.
    """
    header, states = packed_header.write(machine), {}
    for path in _files(folder):
        file = packed_file.read(path)
        differing = [key for key in header if header[key] != file.header[key]]
        if _shapes(file.contents.free) != _shapes(free):
            differing.append("parameters that are not chosen")
        if differing:
            raise UserError(
                f"{path} is of another network, by its {', '.join(differing)}: convert the same "
                "model with the same seed and settings"
            )
        task = unquote(path.name.removesuffix(SUFFIX).removeprefix("task-"))
        if task in states:
            raise UserError(
                f"{path} is a second file of the task '{task}': remove the one that is not meant"
            )
        states[task] = file.contents
    if not states:
        raise UserError(f"{folder} holds no packed tasks: write them by bank.save(folder)")
    return states


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"task-*{SUFFIX}"))


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[object, object]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}
