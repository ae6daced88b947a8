"""What to train of several modalities, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.registry import Spec, check_fields


@dataclass(frozen=True)
class ModalitiesSpec:
    """Pre-training of modalities, then of all together, beside what else is done for them.

    Attributes:
        task: A task whose model is a MultimodalNetwork (see `beyondprop list`), or your own as
            my.module:task.
        methods: Which of the ways to train are compared. Default: all.
        seeds: Each has networks and data of its own.
        epochs: Passes over the data in which a pre-trained network is trained as a whole; the other
            methods get as much computation. Default: the task's.
        alone_epochs: Passes in which single modalities are trained, at most.
        patience: Epochs without a lower validation loss, behind which a modality's training ends.
        warm_epochs: Passes before, in which the fusion and the head of a pre-trained network alone
            are trained.
        batch_size: Samples a step. Default: the task's.
        rates: Learning rates, of which each modality and each method takes the one that serves it
            best on the validation data.
        fusion: What joins modalities in place of the task's own fusion, by name or with arguments
            (attention, concatenation, gating, low-rank, cross-attention), or your own as
            my.module:fusion.
        dropout: Share of modalities that are left out at random in training, so that the network
            learns to do without some. Default: the task's own, 0 in all tasks here.
        target: Validation score to which the cost of training is compared. Default: that of the
            best single modality, seed by seed.
        rule: That trains single modalities and the whole, but for methods that need backprop.
        data: Folder that holds the data set's files. Default: the standard places.
        threads: CPU threads.

    Raises:
        UserError: A field makes no sense.
    """

    task: Spec = "generated-ambiguous"
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int | None = None
    alone_epochs: int = 30
    patience: int = 3
    warm_epochs: int = 1
    batch_size: int | None = None
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    fusion: Spec | None = None
    dropout: float | None = None
    target: float | None = None
    rule: Spec = "backprop"
    data: Path | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        check_fields(self)
        problems = [
            f"{name} must be {what}"
            for name, what, right in (
                ("seeds", "different", len(set(self.seeds)) == len(self.seeds)),
                ("rates", "numbers above 0", all(0 < each < math.inf for each in self.rates)),
                ("alone_epochs", "above 0", self.alone_epochs > 0),
                ("patience", "above 0", self.patience > 0),
                ("threads", "above 0", self.threads > 0),
            )
            if not (right and getattr(self, name))
        ]
        if self.warm_epochs < 0:
            problems.append("warm_epochs must be 0 or more")
        if self.methods is not None and not self.methods:
            problems.append("methods must name one at least")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                problems.append(f"{name} must be above 0")
        if self.dropout is not None and not 0 <= self.dropout < 1:
            problems.append("dropout must be from 0 to less than 1")
        if self.target is not None and not math.isfinite(self.target):
            problems.append("target must be a number")
        if problems:
            raise UserError("; ".join(problems))
