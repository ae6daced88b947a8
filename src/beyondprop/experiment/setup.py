"""Setup of a run: PyTorch's settings, data on the device, and early checks."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from beyondprop import rules
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop._torch.threads import threads_set
from beyondprop._torch.weights import check_weights
from beyondprop.engine.attach import attachment_of
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept, untouched
from beyondprop.errors import UserError, one_line
from beyondprop.experiment.faults import check_returned, fault_of, fault_of_rule
from beyondprop.experiment.plan import ComparePlan, RunPlan, factory
from beyondprop.measure.blocks import gradients_of_blocks
from beyondprop.optics.presets import OPU, PRESETS
from beyondprop.tasks import Contrast, Data, Samples, Split, Task, attached, call, taught
from beyondprop.tasks.order import drawn
from beyondprop.tasks.samples import Rows
from beyondprop.text.devices import unusable

Loss = Callable[[Any, Any], Tensor]


@contextmanager
def torch_settings(plan: RunPlan | ComparePlan) -> Iterator[None]:
    """Use the plan's number of threads; afterwards restore it and the generators.

    Raises:
        UserError: The device is not available here, or there are far too many threads.
    """
    with generators_kept([_device(plan.device)]), threads_set(plan.threads):
        yield


def load(task: Task, plan: RunPlan | ComparePlan) -> Data:
    """Return the task's data, on the plan's device.

    Raises:
        UserError: It cannot be loaded.
    """
    return read(task, plan.data).mapped(lambda part: part.to(plan.device))


def read(task: Task, folder: Path | None) -> Data:
    """Return the task's data on the CPU.

    Raises:
        UserError: It cannot be loaded.
    """
    check_folder(folder)
    with fault_of("load", task):
        data = task.load(folder)
    check_returned("load", task, data, Data, "a beyondprop.tasks.Data")
    return data


def check_folder(folder: Path | None) -> None:
    """Check that the data folder of a user exists: a task with embedded data would not read it.

    Raises:
        UserError: There is no such file or folder.
    """
    if folder is not None and not folder.expanduser().exists():
        raise UserError(f"the folder {folder} does not exist: correct data=, or leave it out")


def of_seed(task: Task, data: Data, seed: int) -> Data:
    """Return the data of a run with this seed.

    Raises:
        UserError: The task cannot split it.
    """
    if task.split is None:
        return data
    with fault_of("split", task):
        found = task.split(data, seed)
    check_returned("split", task, found, Data, "a beyondprop.tasks.Data")
    return found


def build(task: Task, plan: RunPlan | ComparePlan) -> nn.Module:
    """Return a new model of the task, on the plan's device.

    Raises:
        UserError: It cannot be built, or an earlier run has already used it.
    """
    with fault_of("model", task):
        model = task.model()
    check_returned("model", task, model, nn.Module, "a torch.nn.Module")
    if any(attachment_of(module) for module in model.modules()):
        raise _not_fresh(task)
    return model.to(plan.device)


def training_batch(task: Task, train: Samples, rows: Rows) -> Contrast:
    """Return the model's inputs for these training samples, and the targets.

    Raises:
        UserError: The samples cannot be read, or the task's augmentation or contrast fails.
    """
    inputs, targets = train.batch(rows)
    return contrasted(task, augmented(task, inputs), targets)


def augmented(task: Task, inputs: Any) -> Any:
    """Return a batch of training inputs with the task's augmentation.

    Raises:
        UserError: The augmentation fails.
    """
    if task.augment is None:
        return inputs
    with fault_of("augment", task):
        return task.augment(inputs)


def contrasted(task: Task, inputs: Any, targets: Any) -> Contrast:
    """Return the model's inputs in training, and their targets.

    Raises:
        UserError: The task's contrast fails.
    """
    if task.contrast is None:
        return inputs, targets
    with fault_of("contrast", task):
        found = task.contrast(inputs, targets)
    check_returned("contrast", task, found, (tuple, list), "a tuple of inputs and targets")
    if len(found) != 2:
        raise UserError(
            f"the contrast of task {task.name} must return two values, inputs and targets"
        )
    return found


def optimizer_of(task: Task, plan: RunPlan, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """Return the run's optimizer over parameters.

    Raises:
        UserError: It cannot be made.
    """
    with fault_of("optimizer", task):
        found = factory(task, plan.optimizer)(parameters, plan.learning_rate)
    check_returned("optimizer", task, found, Optimizer, "a torch.optim.Optimizer")
    return found


def check_fits(task: Task, model: nn.Module, train: Samples, batch_size: int) -> None:
    """Try the model and the loss on a batch of every size that occurs in training.

    Raises:
        UserError: The model does not accept the data, the loss does not accept its output, or its
            state cannot be stored.
    """
    _check_finite(task, train)
    model = copy.deepcopy(model).train()  # a copy's BatchNorm statistics may change
    with generators_kept([train.device]), torch.no_grad():
        for size in _sizes(train, batch_size):
            inputs, targets = training_batch(task, train, drawn(len(train), size))
            _try_batch(task, model, inputs, targets, _last(train, batch_size, size))
    check_weights(model)


def _check_finite(task: Task, train: Samples) -> None:
    """Check that inputs and targets are finite: all in memory, otherwise those of one sample."""
    seen = train.batch(slice(len(train) if isinstance(train, Split) else 1))
    for what, values in zip(("inputs", "targets"), seen, strict=True):
        for each in leaves(values):
            rows = each.isfinite().flatten(1).all(1) if each.ndim > 1 else each.isfinite()
            if not each.is_floating_point() or rows.all():
                continue
            some = f"{int((~rows).sum())} of {len(train)} " if len(rows) == len(train) else ""
            verb = "are not" if some else "hold numbers that are not"
            raise UserError(
                f"{some}training {what} of task {task.name} {verb} finite: leave them out, or fill "
                "in missing values"
            )


def check_samples(handle: Attachment, train: Samples, batch_size: int) -> None:
    """Check that every batch has the number of samples that the rules need.

    Raises:
        UserError: A batch is too small.
    """
    rule = max((block.rule for block in handle.blocks), key=lambda each: each.traits.samples)
    least = _sizes(train, batch_size)[-1]
    if least < rule.traits.samples:
        raise UserError(
            f"the rule {rule.name} needs {rule.traits.samples} samples or more in a "
            f"batch{_last(train, batch_size, least)}"
        )


def check_rules(plan: ComparePlan, task: Task, train: Samples) -> None:
    """Check before the first run of a comparison for errors that would make every run fail.

    Raises:
        UserError: The model does not fit its data, two models share weights, or none of the rules
            can be attached.
    """
    with generators_kept([train.device]):
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
                handle = attached(task, model, made, plan.blocks)
            try:
                check_samples(handle, train, plan.batch_size)
                try_taught(task, handle, train, plan.batch_size)
            finally:
                handle.remove()
        except UserError as problem:
            problems.append(problem)
    if len(problems) == len(plan.rules):
        raise problems[0]


def try_taught(task: Task, handle: Attachment, train: Samples, batch_size: int) -> None:
    """Try the rules on one batch, forward and backward, without learning.

    Raises:
        UserError: The rules fail on the batch.
    """
    model, name = handle.model.train(), handle.blocks[0].rule.name
    with untouched(model), torch.enable_grad():
        inputs, targets = training_batch(task, train, drawn(len(train), batch_size))
        with fault_of(f"batch by rule {name}", task):
            with taught(handle, targets):
                loss = task.loss(call(model, inputs), targets)
            gradients_of_blocks(handle, [loss], [None])


def _sizes(train: Samples, batch_size: int) -> list[int]:
    """Return the batch sizes that occur in training, the largest first."""
    sizes = {min(batch_size, len(train)), len(train) % batch_size} - {0}
    return sorted(sizes, reverse=True)


def _last(train: Samples, batch_size: int, size: int) -> str:
    """Return a hint if a batch of this size is the smaller last batch, otherwise ""."""
    if size == _sizes(train, batch_size)[0]:
        return ""
    return (
        f"; {len(train)} training samples leave a last batch of {size}: choose another batch_size "
        f"than {batch_size}"
    )


def _not_fresh(task: Task) -> UserError:
    return UserError(
        f"the model of task {task.name} returns the same weights each time, which one run would "
        "pass on to the next: build all its layers inside the function"
    )


def _try_batch(task: Task, model: nn.Module, inputs: Any, targets: Any, last: str) -> None:
    tried = f"the model of task {task.name} does not fit its data: inputs {_describe(inputs)}"
    with fault_of("model", task), _misfit(tried, last):
        outputs = call(model, inputs)
    tried = (
        f"the loss of task {task.name} does not fit: outputs {_describe(outputs)}, "
        f"targets {_describe(targets)}"
    )
    with fault_of("loss", task), _misfit(tried, last), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using a (target|input) size")  # it is refused below
        _try_loss(task.loss, outputs, targets)
        if _broadcasts(task.loss, outputs, targets):
            raise ValueError(
                "every output is compared with every target, because their shapes are broadcast: "
                "give both the same shape, for example by outputs.squeeze(1)"
            )


def _try_loss(loss: Loss, outputs: Any, targets: Any) -> None:
    """Compute a scalar loss and its gradient with respect to the outputs."""

    def begun(output: Tensor) -> Tensor:
        return output.detach().requires_grad_(output.is_floating_point())

    with torch.enable_grad():
        outputs = replaced(outputs, begun)
        value: object = loss(outputs, targets)
        if not isinstance(value, Tensor):
            raise ValueError(f"it must return a tensor of one number, not a {type(value).__name__}")
        value.item()
        if value.requires_grad:
            taught = [each for each in leaves(outputs) if each.requires_grad]
            torch.autograd.grad(value, taught, allow_unused=True)


def _broadcasts(loss: Loss, outputs: Any, targets: Any) -> bool:
    """Whether a loss does not depend on which target belongs to which output.

    This is the case if ``(n, 1)`` and ``(n,)`` are broadcast to ``(n, n)``. A loss that reshapes
    them does not broadcast them.
    """
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return False
    if outputs.shape == targets.shape or len(targets) < 2:
        return False
    try:
        common = torch.broadcast_shapes(outputs.shape, targets.shape).numel()
    except RuntimeError:
        return False
    if common <= max(outputs.numel(), targets.numel()):
        return False
    apart = _apart(outputs), _apart(targets)  # equal rows would show no difference
    return bool(torch.isclose(loss(*apart), loss(apart[0], apart[1].flip(0))))


def _apart(x: Tensor) -> Tensor:
    """Return values with a different offset in each row; class numbers are unchanged."""
    if not x.is_floating_point():
        return x
    ramp = torch.linspace(0, 1, len(x), dtype=x.dtype, device=x.device)
    return x + ramp.view(-1, *[1] * (x.dim() - 1))


@contextmanager
def _misfit(tried: str, last: str) -> Iterator[None]:
    """Add what was tried to an error of PyTorch about shapes or types."""
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        raise UserError(f"{tried}: {one_line(error)}{last}") from error


def _describe(value: object) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_describe(each)}" for name, each in value.items())
    if isinstance(value, (tuple, list)):
        told = list(map(_describe, value))
        alike = len(told) > 2 and len(set(told)) == 1
        return f"{len(told)} {told[0]}" if alike else ", ".join(told)
    return f"of type {type(value).__name__}"


def _device(name: str) -> torch.device:
    try:
        if torch.device(name).type == "meta":
            raise UserError("device 'meta' has shapes but no numbers to train on; try cpu")
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        if name in (OPU, *PRESETS):
            raise UserError(
                f"device {name!r} cannot run the training: to project by light, set the rule's "
                "projection, as in {dfa: {projection: {photonic: {device: lighton-opu}}}}"
            ) from None
        raise unusable(name, error) from None
