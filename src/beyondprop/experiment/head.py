"""The output layer of a run with frozen hidden blocks, which is solved to convergence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beyondprop import rules
from beyondprop._torch.pytrees import leaves
from beyondprop.engine.attachment import Attachment
from beyondprop.engine.untouched import generators_kept, untouched
from beyondprop.errors import FAULTS, UserError, one_line
from beyondprop.experiment.assess import EVALUATION_BATCH
from beyondprop.experiment.faults import fault_of
from beyondprop.experiment.plan import ComparePlan, RunPlan
from beyondprop.experiment.setup import augmented, build
from beyondprop.experiment.solver import Features, Problem, Solution, in_precision, solve
from beyondprop.experiment.source import Source
from beyondprop.slots import machine_of
from beyondprop.tasks import Data, Samples, Split, Task, attached, call
from beyondprop.tasks.order import order

JOINT = "joint"
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
COPIES = 4
"""Maximum number of augmented copies of each training sample, in addition to the plain sample."""
NUMBERS = 250_000_000
"""Maximum number of values in all features: 2 GiB in double precision."""
SEEN = 4
"""Number of samples used to check whether a head can be solved."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear layer that gives the model's outputs, after hidden blocks that do not learn.

    Attributes:
        handle: The model's attachment.
        layer: The only part of the model that learns.
        plan: The run's plan.
        task: The task, with its loss and metric.
        data: The task's data; the test split is not used.
        shape: Shape of a sample's outputs.
        width: Number of values in the features of a sample.
    """

    handle: Attachment
    layer: nn.Linear
    plan: RunPlan
    task: Task
    data: Data
    shape: torch.Size
    width: int

    def solve(self) -> Solution:
        """Solve the layer on cached features, and load the solution into the model.

        Before that, one pass over the training data determines the running statistics of batch
        normalisation layers.

        Raises:
            UserError: Features are not finite.
        """
        self._settle()
        train, validation = self._training(), self._features(self.data.validation)
        solution = solve(self.problem, train, validation)
        fill(self.layer, solution)
        return solution

    @property
    def problem(self) -> Problem:
        """The problem to solve."""
        task = self.task
        loss, metric = fault_of("loss", task)(task.loss), fault_of("metric", task)(task.metric)
        has_bias = self.layer.bias is not None
        return Problem(loss, metric, self.layer.out_features, self.shape, has_bias)

    def _training(self) -> Features:
        """Return the training samples, and augmented copies if the task augments."""
        train = self.data.train
        more = 0 if self.task.augment is None else NUMBERS // (self.width * len(train)) - 1
        parts = [self._features(train)]
        parts += [self._features(train, augment=True) for _ in range(min(COPIES, more))]
        return Features(
            torch.cat([part.features for part in parts]),
            torch.cat([part.targets for part in parts]),
        )

    def _features(self, samples: Samples, augment: bool = False) -> Features:
        """Return the samples' targets and the layer's inputs, ``(n, ..., in_features)``."""
        size = self.plan.batch_size if augment else EVALUATION_BATCH
        features, targets = [], []
        with fault_of("model", self.task):
            for inputs, wanted in samples.batches(size):
                given = augmented(self.task, inputs) if augment else inputs
                found, own, outputs = observed(self.handle, self.layer, given)
                rows = rows_of(own, outputs)
                if rows is None:
                    raise UserError(
                        "for some samples the model does not return the outputs of its last layer"
                    )
                features.append(found[rows])
                targets.append(wanted)
        made = Features(torch.cat(features), torch.cat(targets))
        if not made.features.isfinite().all():
            raise UserError("the features before the last layer are not finite, so it has no loss")
        return made

    @torch.no_grad()
    def _settle(self) -> None:
        """Average batch normalisation statistics over one pass through the training data."""
        model, train = self.handle.model, self.data.train
        norms = [m for m in model.modules() if isinstance(m, NORMS) and m.track_running_stats]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean over all batches
        model.train()
        with fault_of("model", self.task):
            for rows in order(self.plan.seed, 1, len(train)).split(self.plan.batch_size):
                call(model, augmented(self.task, train.batch(rows)[0]))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def fill(layer: nn.Linear, solution: Solution) -> None:
    """Copy a solution's weights into a layer."""
    with torch.no_grad():
        layer.weight.copy_(solution.weight)
        if layer.bias is not None:
            layer.bias.copy_(solution.bias)


def is_solved(plan: ComparePlan, name: str, source: Source) -> bool:
    """Whether the last layer of this rule's runs is solved, so that nothing is trained."""
    one = plan.trial(name, plan.first, plan.tuning_epochs)
    rule = rules.make(one.rule)
    if rule.traits.learns:
        return False
    data = source.data(plan.seeds[0])
    with generators_kept([data.train.device]):
        try:
            handle = attached(source.task, build(source.task, plan), rule, plan.blocks)
            return isinstance(find_head(one, source.task, data, handle), Head)
        except FAULTS:  # any error: the rule's runs report it
            return False


def find_head(plan: RunPlan, task: Task, data: Data, handle: Attachment) -> Head | str | None:
    """Return the head of a run that can be solved, or the reason why it is trained by steps.

    Returns:
        None if the run's rule trains hidden blocks.
    """
    if rules.make(plan.rule).traits.learns:
        return None
    if plan.schedule != JOINT:
        return f"the schedule is {plan.schedule}"
    if plan.adversarial is not None:
        return "the training is adversarial"
    if task.contrast is not None:
        return "the task contrasts right with wrong answers"
    inputs, targets = data.train.batch(slice(min(SEEN, len(data.train))))
    layer = _only_layer(handle, inputs)
    if isinstance(layer, str):
        return layer
    if not isinstance(targets, Tensor):
        return "its targets are several tensors"
    features, own, outputs = observed(handle, layer, inputs)
    if own.ndim > 2 and not isinstance(data.train, Split):
        return "samples of a dataset may differ in length, and the last layer runs at each position"
    width = features[0].numel() + own[0].numel() if len(own) else 0
    why = _misfit(own, outputs, len(targets)) or no_loss(task, outputs, targets)
    if why:
        return why
    if width * len(data.train) > NUMBERS:
        return f"its features are {width * len(data.train):,} numbers, more than {NUMBERS:,}"
    return Head(handle, layer, plan, task, data, outputs.shape[1:], width)


def _only_layer(handle: Attachment, inputs: Any) -> nn.Linear | str:
    """Return the linear layer that is the only part to learn, or why there is none.

    Layers before frozen blocks, such as an embedding, receive no error and do not learn.
    """
    learned = _reached(handle, inputs)
    linear = [module for module in handle.model.modules() if type(module) is nn.Linear]
    found = next((m for m in linear if {id(each) for each in m.parameters()} == learned), None)
    hidden = {id(m) for block in handle.blocks[:-1] for _, m in block.named_modules()}
    named = [each for _, each in handle.model.named_parameters(remove_duplicate=False)]
    last = [module for module in linear if id(module) not in hidden]
    if any(sum(each is module.weight for each in named) > 1 for module in last):
        return "the last layer shares its weight with another layer"
    if found is None:
        block = handle.blocks[-1]
        return (
            f"the parameters trained from the last block, {block.name}, are not those of a single "
            "nn.Linear"
        )
    machine = machine_of(handle.model)
    if machine is not None and any(reel.parameter is found.weight for reel in machine.reels):
        return "the last layer chooses its weights among fixed values (slots)"
    return found


def _reached(handle: Attachment, inputs: Any) -> set[int]:
    """Return the `id` of each parameter that the output's gradient reaches."""
    learning = [each for each in handle.model.parameters() if each.requires_grad]
    with untouched(handle.model), torch.enable_grad():
        handle.model.eval()
        outputs = [each.sum() for each in leaves(call(handle.model, inputs)) if each.requires_grad]
        found = torch.autograd.grad(outputs, learning, allow_unused=True) if outputs else ()
    return {id(each) for each, g in zip(learning, found, strict=bool(outputs)) if g is not None}


def _misfit(own: Tensor, outputs: Any, samples: int) -> str | None:
    """Return why a layer's outputs are not the model's outputs for each sample, or None."""
    if not isinstance(outputs, Tensor) or not outputs.dtype.is_floating_point:
        return "the model does not return one tensor of real numbers"
    if len(own) < samples or len(outputs) != samples:
        return "the last layer does not run exactly once, with one row per sample"
    if rows_of(own, outputs) is None:
        return "the model does not return the outputs of its last layer"
    return None


def rows_of(own: Tensor, outputs: Tensor) -> Tensor | slice | None:
    """Return which of a layer's rows the model returns; None if it returns anything else.

    A model may return only some of them, such as the requested nodes of a graph.

    Args:
        own: The layer's outputs, which are `marked`.
        outputs: The model's outputs.
    """
    if torch.equal(own.flatten(), outputs.flatten()):
        return slice(None)
    if own.shape[1:] != outputs.shape[1:] or not own.numel():
        return None
    marks, found = own.flatten(1)[:, 0].contiguous(), outputs.flatten(1)[:, 0].contiguous()
    if not (marks.diff() > 0).all():  # too many to distinguish in this precision
        return None
    rows = torch.searchsorted(marks, found).clamp(max=len(own) - 1)
    return rows if torch.equal(own[rows], outputs) else None


def no_loss(task: Task, outputs: Tensor, targets: Tensor) -> str | None:
    """Return why a task's loss cannot be minimised in double precision, or None."""
    taken = outputs.detach().double().requires_grad_()
    try:
        torch.autograd.grad(task.loss(taken, in_precision(targets, taken.dtype)), taken)
    except FAULTS as error:  # any error of the user's loss
        return f"the loss fails in double precision ({one_line(error)})"
    return None


def marked(output: Tensor) -> Tensor:
    """Return different numbers in an output's shape, which identify the output later.

    A layer's real output may not identify it: with zero initial weights it is zero, and so are the
    results of many functions of it.
    """
    marks = torch.linspace(-1, 2, output.numel(), dtype=output.dtype, device=output.device)
    return marks.view(output.shape)


def observed(handle: Attachment, layer: nn.Module, inputs: Any) -> tuple[Tensor, Tensor, Any]:
    """Return a layer's input and its `marked` output, and the model's output, in eval mode.

    The first two are empty if the layer does not run exactly once.

    Args:
        handle: The model's attachment.
        layer: A layer of the model.
        inputs: Inputs of a batch.
    """
    found: list[tuple[Tensor, Tensor]] = []

    def observe(_module: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
        found.append((given[0].detach().clone(), marked(output.detach())))
        return found[-1][1].clone()

    hook = layer.register_forward_hook(observe)
    try:
        with untouched(handle.model), torch.no_grad():
            handle.model.eval()
            outputs = call(handle.model, inputs)
    finally:
        hook.remove()
    if len(found) != 1:
        return torch.empty(0), torch.empty(0), outputs
    return *found[0], outputs
