"""Many tasks in one network of fixed random values: a selection of them for each."""

import os
from pathlib import Path

from torch import Tensor, nn

from beyondprop.errors import UserError
from beyondprop.slots import bank_files, contents, task_inference
from beyondprop.slots.contents import Contents
from beyondprop.slots.machine import required
from beyondprop.slots.packing import bits_of


class Bank:
    """One network of fixed random values, and a selection of them for each task.

    What one task has learned is stored apart, so that learning another cannot change it: its
    selection, and all else that the model has, such as statistics of batches and layers that were
    excluded. For each task:

    1. ``bank.restart()``;
    2. a new optimizer, ``slots.drive(SGD(model.parameters(), lr=0.1), model)``, and training;
    3. ``bank.keep(task)``.

    ``bank.use(task)`` has the model be that task's, to the bit. An optimizer's step behind it is
    refused, as its scores are of another selection: call `restart` before a task. Where nobody
    tells the task, `infer` finds it.

    Args:
        model: A converted one, in the state that each task begins from.

    Attributes:
        machine: What `convert` returned.
        start: What each task begins from, besides the initial scores.
        kept: Every task's choices, packed, and all that is not chosen.

    Raises:
        UserError: It was not converted, or draws its weights anew in each forward pass.
    """

    def __init__(self, model: nn.Module) -> None:
        self.machine = required(model)
        if any(reel.kind.random for reel in self.machine.reels):
            raise UserError(
                "a bank keeps one choice for each weight, and these are drawn anew in each forward "
                "pass: convert with slots.Greedy()"
            )
        self.start = contents.take(self.machine).free
        self.kept: dict[str, Contents] = {}
        self._unsaved_start = contents.unsaved(model)
        self._unsaved: dict[str, dict[str, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def tasks(self) -> list[str]:
        """The kept tasks, in their order."""
        return list(self.kept)

    @property
    def bits(self) -> int:
        """Bits that a selection takes for each converted weight."""
        return bits_of(self.machine.reels[0].kind.count)

    def size(self, task: str) -> int:
        """Return the bytes that a kept task takes."""
        kept = self._of(task)
        tensors = (*kept.chosen.values(), *kept.free.values())
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
            UserError: Some weight is not among its fixed values.
        """
        self.kept[task] = contents.take(self.machine)
        self._unsaved[task] = contents.unsaved(self.machine.model)

    def use(self, task: str) -> None:
        """Have the model be a task's; what was learned and not kept is gone.

        Raises:
            UserError: The task was not kept.
        """
        kept = self._of(task)
        for reel in self.machine.reels:
            reel.checked = False  # a step would choose by other scores, and is refused
        contents.put(self.machine, kept)
        contents.put_buffers(self.machine.model, self._unsaved.get(task, {}))

    def infer(self, inputs: Tensor) -> str:
        """Return which task inputs without labels, all of one, belong to: by `one_shot`.

        Raises:
            UserError: No task was kept, or the model returns no logits.
        """
        return task_inference.one_shot(self.machine, self._some(), inputs)

    def infer_each(self, inputs: Tensor) -> str:
        """Return the same by running every task, by `lowest_entropy`, with the same errors."""
        return task_inference.lowest_entropy(self.machine, self._some(), inputs)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write a packed file for each task, ``task-NAME.safetensors``, which `load` reads too.

        Raises:
            UserError: The folder holds files of other tasks, or cannot be written.
        """
        bank_files.save(Path(folder), self.machine, self._some())

    def _of(self, task: str) -> Contents:
        if task not in self.kept:
            known = ", ".join(self.kept) or "none yet"
            raise UserError(f"the bank keeps no task '{task}'; it keeps: {known}")
        return self.kept[task]

    def _some(self) -> dict[str, Contents]:
        if not self.kept:
            raise UserError("the bank keeps no task yet: train one, then call bank.keep(task)")
        return self.kept


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
    loaded.kept = bank_files.load(Path(folder), loaded.machine, loaded.start)
    return loaded
