"""Settings of a comparison of multimodal training methods, as plain data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from beyondprop.errors import UserError
from beyondprop.experiment.spec import check_seeds
from beyondprop.registry import Spec, check_fields


@dataclass(frozen=True)
class ModalitiesSpec:
    """A comparison of pre-training each modality before joint training with other methods.

    Attributes:
        task: A task whose model is a MultimodalNetwork (see `beyondprop list`), or your own as
            my.module:task.
        methods: The training methods to compare. Default: all.
        seeds: Random seeds. Each seed has its own networks and data.
        epochs: Passes over the training data when the pre-trained network is trained as a whole.
            The other methods get the same amount of computation. Default: the task's.
        alone_epochs: Maximum number of passes over the training data when a modality is trained
            alone.
        patience: Stop training a modality alone after this many epochs without a lower validation
            loss.
        warm_epochs: Passes over the training data that train only the fusion and the head, before
            the whole pre-trained network is trained.
        batch_size: Samples per step. Default: the task's.
        rates: Learning rates to try. Each modality and each method uses the one with its best
            result on the validation data.
        fusion: Fusion module to use instead of the task's: attention, concatenation, gating,
            low-rank or cross-attention, by name or with arguments, or your own as my.module:fusion.
        dropout: Fraction of modalities dropped at random in training, so that the network learns to
            work without some of them. Default: the task's, which is 0 for all built-in tasks.
        target: Validation score up to which the cost of training is measured. Default: for each
            seed, the score of the best single modality.
        rule: Rule that trains single modalities and the whole network. Methods that need backprop
            use backprop.
        data: Folder that contains the data set. Default: the standard locations.
        threads: CPU threads.

    Raises:
        UserError: A field is invalid.
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
        check_seeds(self)
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
            problems.append("methods must name at least one")
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
