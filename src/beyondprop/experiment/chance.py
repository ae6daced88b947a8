"""The chance level: the score of a model that has learned nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.engine.untouched import generators_kept, untouched
from beyondprop.errors import FAULTS, UserError
from beyondprop.experiment.assess import EVALUATION_BATCH, score
from beyondprop.experiment.checkpoint import seed_generators
from beyondprop.experiment.head import no_loss
from beyondprop.experiment.plan import ComparePlan
from beyondprop.experiment.record import reason_of
from beyondprop.experiment.setup import build
from beyondprop.experiment.solver import Problem, constant
from beyondprop.files import finite
from beyondprop.tasks import Data, Samples, Split, Task, call


def chance(plan: ComparePlan, task: Task, data: Data) -> dict[str, Any]:
    """Return the test `score` of a model that has learned nothing, and in `of` which model.

    It is the score of the best constant output, or of the untrained model if there is no best
    constant. It is None if that has no score either.
    """
    with generators_kept([data.train.device]):
        seed_generators(plan.seeds[0])
        model = build(task, plan)
        try:
            return {"score": constant_score(task, data, model), "of": "the best constant output"}
        except FAULTS as error:  # any error of a model or a loss
            why = reason_of(error)
        try:
            found = score(task, model, data.test).score
        except FAULTS as error:  # the finished runs are recorded in any case
            return {"score": None, "of": f"not known ({reason_of(error)})"}
        return {"score": finite(found), "of": f"the untrained model ({why})"}


def constant_score(task: Task, data: Data, model: nn.Module) -> float:
    """Return the test score of the constant output with the lowest training loss.

    Raises:
        UserError: No constant output minimises the loss.
    """
    outputs = outputs_of(task, data, model)
    shape = outputs.shape[1:]
    problem = Problem(task.loss, task.metric, shape[-1] if shape else 1, shape)
    targets = targets_of(data.train)
    found = constant(problem, targets, torch.Size([len(targets), *shape[:-1]]))
    if not found.converged:
        raise UserError("no constant output has the least loss")
    one = found.bias.to(outputs.dtype)
    tested = targets_of(data.test)
    places = Split(torch.arange(len(tested), device=one.device), tested)
    return score(task, Everywhere(one.expand(shape) if shape else one[0]), places).score


def targets_of(samples: Samples) -> Tensor:
    """Return the targets of all samples.

    Raises:
        UserError: They are not one tensor.
    """
    if isinstance(samples, Split) and isinstance(samples.targets, Tensor):
        return samples.targets
    found = [targets for _, targets in samples.batches(EVALUATION_BATCH)]
    if not all(isinstance(each, Tensor) for each in found):
        raise UserError("the targets are several tensors")
    if len({each.shape[1:] for each in found}) > 1:
        raise UserError("the targets differ in length")
    return torch.cat(found)


class Everywhere(nn.Module):
    """A model that returns the same output for every sample."""

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def forward(self, inputs: Tensor) -> Tensor:
        """Return ``(batch, ...)``."""
        return self.output.expand(len(inputs), *self.output.shape)


def outputs_of(task: Task, data: Data, model: nn.Module) -> Tensor:
    """Return the model's outputs for the first training samples.

    Raises:
        UserError: The output is not a tensor of real numbers with one row for each sample, or the
            loss fails on it in double precision.
    """
    inputs, targets = data.train.batch(slice(min(2, len(data.train))))
    if not isinstance(targets, Tensor):
        raise UserError("the targets are several tensors")
    with untouched(model), torch.no_grad():
        outputs = call(model.eval(), inputs)
    real = isinstance(outputs, Tensor) and outputs.is_floating_point()
    if not isinstance(outputs, Tensor) or not real or len(outputs) != len(targets):
        raise UserError("the model does not return one real tensor with one row per sample")
    if why := no_loss(task, outputs, targets):
        raise UserError(why)
    return outputs
