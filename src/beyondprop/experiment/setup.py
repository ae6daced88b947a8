"""What a run needs around it: PyTorch's settings, data on its device, misfits found early."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from beyondprop import rules
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import attachment_of
from beyondprop.engine.untouched import generators_kept
from beyondprop.errors import UserError
from beyondprop.experiment.faults import fault_of, fault_of_rule
from beyondprop.experiment.plan import ComparePlan, RunPlan
from beyondprop.tasks import (
    Contrast,
    Data,
    Split,
    Task,
)

THREADS_A_CORE = 4


@contextmanager
def torch_settings(plan: RunPlan | ComparePlan) -> Iterator[None]:
    """Compute with the plan's threads; afterwards these and the generators are as before.

    Raises:
        UserError: There is no such device here, or the threads are far too many for it.
    """
    most = THREADS_A_CORE * (os.cpu_count() or 1)
    if plan.threads > most:
        raise UserError(f"threads must be at most {most} on this machine, not {plan.threads}")
    device, before = _device(plan.device), torch.get_num_threads()
    with generators_kept([device]):
        torch.set_num_threads(plan.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def load(task: Task, plan: RunPlan | ComparePlan) -> Data:
    """Return the task's data, on the plan's device.

    Raises:
        UserError: It cannot be loaded.
    """
    with fault_of("load", task):
        data: object = task.load(plan.data)
    if not isinstance(data, Data):
        raise UserError(
            f"the load of task {task.name} must return a beyondprop.tasks.Data, "
            f"not a {type(data).__name__}"
        )

    def moved(split: Split) -> Split:
        return Split(split.inputs.to(plan.device), split.targets.to(plan.device))

    return replace(
        data, train=moved(data.train), validation=moved(data.validation), test=moved(data.test)
    )


def build(task: Task, plan: RunPlan | ComparePlan) -> nn.Module:
    """Return a fresh model of the task, on the plan's device.

    Raises:
        UserError: It cannot be built, or is one that a run has had before.
    """
    with fault_of("model", task):
        model: object = task.model()
    if not isinstance(model, nn.Module):
        raise UserError(
            f"the model of task {task.name} must return a torch.nn.Module, "
            f"not a {type(model).__name__}"
        )
    if any(attachment_of(module) for module in model.modules()):
        raise _not_fresh(task)
    return model.to(plan.device)


def augmented(task: Task, inputs: Tensor) -> Tensor:
    """Return a batch of training inputs as the task changes them.

    Raises:
        UserError: The change fails.
    """
    if task.augment is None:
        return inputs
    with fault_of("augment", task):
        return task.augment(inputs)


def contrasted(task: Task, inputs: Tensor, targets: Tensor) -> Contrast:
    """Return what the model is called with in training, and the targets that go with it.

    Raises:
        UserError: The task's change fails.
    """
    if task.contrast is None:
        return (inputs,), targets
    with fault_of("contrast", task):
        return task.contrast(inputs, targets)


def check_fits(task: Task, model: nn.Module, train: Split, batch_size: int) -> None:
    """Try the model and the loss on a batch of every size that training will meet.

    Raises:
        UserError: The model does not take the data, or the loss not its output.
    """
    sizes = {min(batch_size, len(train)), len(train) % batch_size} - {0}
    model = copy.deepcopy(model).train()  # a copy's BatchNorm statistics may change
    with generators_kept([train.inputs.device]), torch.no_grad():
        for size in sorted(sizes, reverse=True):
            inputs = augmented(task, train.inputs[:size])
            _try_batch(task, model, *contrasted(task, inputs, train.targets[:size]))


def check_rules(plan: ComparePlan, task: Task, train: Split) -> None:
    """Find what would make every run of a comparison fail, before the first.

    Raises:
        UserError: The model does not fit its data, two models share weights, or none of the rules
            can be attached.
    """
    with generators_kept([train.inputs.device]):
        model, other = build(task, plan), build(task, plan)
    if {*model.parameters()} & {*other.parameters()}:
        raise _not_fresh(task)
    del other
    check_fits(task, model, train, plan.batch_size)
    problems = []
    for rule in plan.rules:
        made = rules.make(rule)
        try:
            with fault_of_rule(made):
                attach(model, made, blocks=plan.blocks).remove()
        except UserError as problem:
            problems.append(problem)
    if len(problems) == len(plan.rules):
        raise problems[0]


def _not_fresh(task: Task) -> UserError:
    return UserError(
        f"the model of task {task.name} returns the same weights each time, which one run would "
        "hand on to the next: build all its layers anew inside the function"
    )


def _try_batch(
    task: Task, model: nn.Module, arguments: tuple[Tensor, ...], targets: Tensor
) -> None:
    called = ", ".join(map(_describe, arguments))
    tried = f"the model of task {task.name} does not fit its data: inputs {called}"
    with fault_of("model", task), _misfit(tried):
        outputs = model(*arguments)
    tried = (
        f"the loss of task {task.name} does not fit: outputs {_describe(outputs)}, "
        f"targets {_describe(targets)}"
    )
    with fault_of("loss", task), _misfit(tried):
        task.loss(outputs, targets).item()  # a loss is one number


@contextmanager
def _misfit(tried: str) -> Iterator[None]:
    """Say of an error that PyTorch raises where shapes or types do not fit what was tried."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{tried}: {reason}") from error


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return f"of type {type(value).__name__}"


def _device(name: str) -> torch.device:
    try:
        if torch.device(name).type == "meta":
            raise UserError("device 'meta' has shapes but no numbers to train on; try cpu")
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used here ({reason}); try cpu") from None
