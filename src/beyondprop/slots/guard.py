"""Keeps ordinary optimizers from moving chosen weights off their fixed values."""

import weakref
from typing import TYPE_CHECKING, Any

from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from beyondprop.errors import UserError

if TYPE_CHECKING:
    from beyondprop.slots.driver import Driver
    from beyondprop.slots.machine import Machine

_machines: "weakref.WeakSet[Machine]" = weakref.WeakSet()
_drivers: "weakref.WeakKeyDictionary[Optimizer, Driver]" = weakref.WeakKeyDictionary()
_on: list[Any] = []


def watch(machine: "Machine") -> None:
    """Refuse the steps of optimizers that hold a machine's weights and are not driven."""
    _machines.add(machine)
    if not _on:
        _on.append(register_optimizer_step_pre_hook(check))


def forget(machine: "Machine") -> None:
    """Watch a machine no more."""
    _machines.discard(machine)


def allow(optimizer: Optimizer, driver: "Driver") -> None:
    """Let an optimizer step, as it is driven."""
    _drivers[optimizer] = driver


def driver_of(optimizer: Optimizer) -> "Driver | None":
    """Return what drives an optimizer."""
    return _drivers.get(optimizer)


def check(optimizer: Optimizer, *_: Any) -> None:
    """Raise a `UserError` where an optimizer would move chosen weights as if they were free."""
    if not _machines:
        return
    driver = _drivers.get(optimizer)
    driven = driver.ids if driver is not None else set()
    held = {id(p) for group in optimizer.param_groups for p in group["params"]} - driven
    for machine in _machines:
        for reel in machine.reels:
            if id(reel.parameter) in held:
                raise UserError(
                    f"{type(optimizer).__name__} would move '{reel.name}' off its fixed values: "
                    "call slots.drive(optimizer, model) once before training, with one optimizer "
                    "for each model, or slots.finetune(model) to train the weights themselves"
                )
