"""Settings of a search, as plain data; see also `spec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from beyondprop.errors import UserError
from beyondprop.experiment.spec import Fields, RunSpec, check_seeds
from beyondprop.registry import Spec, check_fields, label, read

RATE, OPTIMIZER = "learning_rate", "optimizer"
NONE: Mapping[str, Spec] = MappingProxyType({})


@dataclass(frozen=True)
class StudySpec(Fields):
    """A search for one rule's settings: its learning rate, numeric arguments and optimizer.

    `Fields` describes the other fields.

    Attributes:
        rule: A rule's name, or your own as my.module:rule. Arguments that you give, as {rule: NAME,
            ARGUMENT: VALUE}, are fixed. The other numeric arguments are searched.
        optimizers: Optimizers to choose from, each written as for a run. Weight decay is an
            argument of the optimizer: {optimizer: sgd, weight_decay: 5e-4}. Default: the task's.
        trials: Number of settings to try. To continue a search, use --resume with a larger number.
        seed: Seed of the trials and of the search. Do not use it for runs that you report.
        measures: Measures to compute after every epoch, in addition to the scores. Default: none.

    Raises:
        UserError: A field has an invalid value.
    """

    rule: Spec = "dfa"
    optimizers: tuple[Spec, ...] | None = None
    trials: int = 30
    seed: int = 1000
    measures: tuple[Spec, ...] = ()

    def __post_init__(self) -> None:
        from beyondprop import rules, tasks  # here, because the flags' help needs neither

        check_seeds(self)
        check_fields(self)
        self.run({RATE: 1.0})
        if not rules.make(self.rule).traits.learns:
            raise UserError(
                f"there is nothing to search for {label(self.rule)}: it trains no hidden layers, "
                "and its last layer is solved"
            )
        for each in self.optimizers or ():
            tasks.OPTIMIZERS.make(each)
        if self.trials < 1:
            raise UserError(f"trials must be at least 1, not {self.trials}")

    def labels(self, usual: Sequence[Spec]) -> dict[str, Spec]:
        """Return the optimizers to try by label: the given ones, or the task's."""
        return {label(each): each for each in self.optimizers or usual}

    def run(self, setting: Mapping[str, Any], optimizers: Mapping[str, Spec] = NONE) -> RunSpec:
        """Return the run of one setting."""
        from beyondprop import rules

        arguments = {name: each for name, each in setting.items() if name not in (RATE, OPTIMIZER)}
        common = {name: getattr(self, name) for name in Fields.__dataclass_fields__}
        name, given = read(self.rule, rules.RULES.kind, rules.RULES.key)
        whole = {rules.RULES.key: name, **given, **arguments}
        rule = whole if len(whole) > 1 else name
        return RunSpec(
            **common,
            rule=rule,
            seed=self.seed,
            learning_rate=setting[RATE],
            optimizer=optimizers.get(setting.get(OPTIMIZER, "")),
        )
