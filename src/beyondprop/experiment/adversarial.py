"""Adversarial training under any rule: every batch is attacked before the rule's step.

Madry, Makelov, Schmidt, Tsipras and Vladu, "Towards deep learning models resistant to adversarial
attacks", 2018, equation 2.1. The rule trains the weights; the attack that finds the inputs always
uses exact gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beyondprop.audit.robustness.attacks.pgd import Pgd, ascended
from beyondprop.audit.robustness.ranges import Ranges, real
from beyondprop.engine.attach import exact_gradients
from beyondprop.engine.untouched import generators_kept, untouched
from beyondprop.errors import UserError
from beyondprop.experiment.setup import training_batch
from beyondprop.experiment.spec import Adversarial
from beyondprop.shapes import taken_by
from beyondprop.tasks import Samples, Task
from beyondprop.tasks.samples import Rows


class Adversary:
    """Adversarial inputs for training batches, by projected gradient descent.

    Args:
        setting: Size and number of steps of the attack.
        task: The task.
        model: The task's model.
        train: Training data, which determine the ranges of the features.
        rows: Rows of a batch to check.

    Raises:
        UserError: The model's inputs cannot be changed by small amounts, or captum is missing.
    """

    def __init__(
        self, setting: Adversarial, task: Task, model: nn.Module, train: Samples, rows: Rows
    ) -> None:
        Pgd().check_installed()
        with generators_kept([train.device]):
            inputs, _ = training_batch(task, train, rows)
        try:
            real(inputs)
            self._ranges = Ranges.of(train, taken_by([model]))
        except UserError:
            raise UserError(
                "adversarial training moves inputs by small amounts, and the model of task "
                f"{task.name} is not called with one tensor of finite real numbers: leave "
                "adversarial= out"
            ) from None
        self._setting, self._task, self._model = setting, task, model

    def inputs(self, inputs: Tensor, targets: Any) -> Tensor:
        """Return nearby inputs with a larger loss.

        The model is in training mode. It is not changed, and neither are the generators, except for
        one draw.
        """
        seed = int(torch.randint(2**63 - 1, ()))  # advances with the run, and is resumed with it
        with untouched(self._model), exact_gradients(self._model):
            torch.manual_seed(seed)
            found = ascended(
                lambda units: self._model(self._ranges.inputs(units)),
                lambda outputs, targets: self._task.loss(outputs, targets).reshape(1),
                self._ranges.units(inputs),
                targets,
                self._setting.epsilon,
                self._setting.steps,
            )
        return self._ranges.inputs(found)
