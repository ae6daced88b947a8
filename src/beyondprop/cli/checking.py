"""The implementation of `beyondprop check`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace
from torch import nn

from beyondprop import rules, tasks
from beyondprop.cli.notation import read_yaml
from beyondprop.engine.attach import attach
from beyondprop.engine.attachment import Attachment
from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.experiment.faults import fault_of, fault_of_rule
from beyondprop.experiment.setup import read, training_batch
from beyondprop.measure.blocks import Batch
from beyondprop.measure.one_batch import check_batch, check_called
from beyondprop.measure.one_batch_report import BatchReport
from beyondprop.registry import dotted
from beyondprop.tasks import Task, arguments_of
from beyondprop.tasks.order import drawn


def check(arguments: Namespace, ports: Iterable[str], samples: int) -> int:
    """Attach the rule, and print what it changed and the result of one batch.

    Args:
        arguments: The command's arguments.
        ports: Names of arguments of `attach` that the command has.
        samples: The default number of samples of a task's data.
    """
    found, model, blocks = find(arguments.model)
    _check_flags(found, arguments)
    rule = rules.make(arguments.rule)
    with fault_of_rule(rule):
        named = {name: arguments[name] for name in ("axes", *ports, "shift")}
        if isinstance(found, Task):
            named |= {name: named[name] or getattr(found, name) for name in ("axes", "output")}
        handle = attach(model, rule, blocks=arguments.blocks or blocks, **named)
    print(handle.report, end="\n\n")
    if isinstance(found, Task):
        print(of_task(handle, found, arguments.batch_size or samples, arguments.data))
    elif arguments.batch is not None:
        print(of_call(handle, arguments.batch))
    elif arguments.input is not None:
        print(of_shape(handle, arguments.input, arguments.classes))
    else:
        print(
            "No batch was run: give the shape of one, such as --input 8 3 32 32 --classes 10, or "
            "--batch my.module:batch."
        )
    return 0


def of_task(handle: Attachment, task: Task, size: int, folder: Path | None) -> BatchReport:
    """Return the report on a batch of a task's training split.

    Raises:
        UserError: The data cannot be loaded, or the batch cannot be run.
    """
    train = read(task, folder).train
    inputs, targets = training_batch(task, train, drawn(len(train), size))
    loss = fault_of("loss", task)(task.loss)
    return check_called(handle, Batch(*arguments_of(inputs), targets), loss)


def of_shape(handle: Attachment, shape: tuple[int, ...], classes: int | None) -> BatchReport:
    """Return the report on a batch of random numbers.

    Raises:
        UserError: The batch cannot be run.
    """
    if handle.needs_targets and classes is None:
        raise UserError("the rule needs targets: give the number of classes by --classes")
    inputs = torch.randn(shape)
    targets = None if classes is None else torch.randint(classes, shape[:1])
    return check_batch(handle, inputs, targets=targets)


def of_call(handle: Attachment, name: str) -> BatchReport:
    """Return the report on a call of the model with the arguments of this dotted name.

    Raises:
        UserError: The name cannot be resolved, or the batch cannot be run.
    """
    found = dotted.resolve(name)
    if callable(found):
        found = built(found, name)
    return check_called(handle, Batch(*arguments_of(found), None))


def _check_flags(found: object, arguments: Namespace) -> None:
    """Raise an error if flags do not suit the model or task, or contradict each other.

    Raises:
        UserError: They do.
    """
    shape = arguments.input
    own = [flag for flag in ("input", "classes", "batch") if arguments[flag] is not None]
    if isinstance(found, Task) and own:
        raise UserError(f"a task has its own data: leave out --{own[0]}")
    if arguments.batch is not None and len(own) > 1:
        raise UserError(f"give the model's batch by --batch or --{own[0]}, not by both")
    if not isinstance(found, Task):
        given = [flag for flag in ("batch_size", "data") if arguments[flag] is not None]
        if given:
            raise UserError(f"--{given[0]} is for tasks: give a model's batch by --input")
    if shape is not None and (not shape or min(shape) < 1):
        raise UserError("--input takes whole numbers of at least 1, samples first: 8 3 32 32")
    if arguments.classes is not None and shape is None:
        raise UserError("--classes is for the targets of a batch: give its shape by --input")
    for flag in ("batch_size", "classes"):
        if arguments[flag] is not None and arguments[flag] < 1:
            raise UserError(f"--{flag} must be at least 1, not {arguments[flag]}")


def given(name: str) -> Any:
    """Return a name with or without arguments, as written on the command line.

    Raises:
        UserError: The arguments are not YAML.
    """
    try:
        return read_yaml(name) if name.lstrip().startswith("{") else name
    except yaml.YAMLError as error:
        raise UserError(f"{name[:40]} cannot be read: {' '.join(str(error).split())}") from error


def find(name: str) -> tuple[object, nn.Module, Sequence[str | Sequence[str]] | None]:
    """Return the task or model of this name, its model, and the blocks that a task defines.

    Raises:
        UserError: There is no task or model of this name.
    """
    spec = given(name)
    dotted_name = isinstance(spec, str) and ":" in spec
    found: object = dotted.resolve(name) if dotted_name else tasks.find(spec)
    if callable(found) and not isinstance(found, nn.Module):
        found = built(found, name)
    blocks, model = None, found
    if isinstance(found, Task):
        blocks = found.blocks or None
        model = built(found.model, name)
    if not isinstance(model, nn.Module):
        raise UserError(f"{name} is of type {type(model).__name__}, not a torch.nn.Module")
    return found, model, blocks


def built(make: Callable[[], object], name: str) -> object:
    """Return the result of a class or function.

    Raises:
        UserError: It fails.
    """
    try:
        return make()
    except FAULTS as error:  # whatever the user's model does when it is built
        raise UserError(f"building {name} failed: {one_line(error)}") from error
