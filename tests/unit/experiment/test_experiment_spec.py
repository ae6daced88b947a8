from __future__ import annotations

import math

import pytest

from beyondprop import rules
from beyondprop.errors import UserError
from beyondprop.experiment import CompareSpec, RunSpec, spec


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"epochs": 0}, "epochs must be at least 1, not 0"),
        ({"batch_size": -3}, "batch_size must be at least 1, not -3"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"seed": -1}, "seed must be between 0 and"),
        ({"seed": 2**63}, "seed must be between 0 and"),
        ({"seed": 2**64}, r"seed must be between 0 and 2\*\*63 - 1, not 18446744073709551616"),
        ({"seed": 10**5000}, "not a whole number with thousands of digits"),
        ({"epochs": 2**64}, r"epochs of RunSpec must be between -2\*\*64 and 2\*\*64, not 1844"),
        ({"feedback_seed": -1}, "feedback_seed must be between 0 and"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, not 0.0"),
        ({"learning_rate": math.inf}, "learning_rate must be positive and finite, not inf"),
        ({"learning_rate": math.nan}, "learning_rate of RunSpec must be a number or null, not nan"),
        ({"blocks": ()}, "blocks is empty"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        RunSpec(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rules": ()}, "rules is empty"),
        ({"rules": ("dfa", "fa", "dfa")}, "rules names something twice: dfa, fa, dfa"),
        ({"rules": ("dfa", {"rule": "dfa"})}, "rules names something twice: dfa, dfa"),
        ({"rules": ("a:B", "a-B")}, "rules names something twice: a-B, a-B"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (1, 1)}, "seeds names something twice"),
        ({"seeds": (0, -2)}, "seeds must be between 0 and"),
        ({"seeds": (5, 6), "tuning_seed": 6}, "tuning_seed=6 is one of the seeds"),
        ({"tuning_epochs": 0}, "tuning_epochs must be at least 1"),
        ({"learning_rates": ()}, "learning_rates is empty"),
        ({"learning_rates": (0.1, math.inf)}, "learning_rates must be positive and finite"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        CompareSpec(**fields)


def test_the_rules_compared_by_default_exist() -> None:
    assert set(spec.RULES) <= set(rules.RULES)


def test_the_default_comparison_has_both_controls() -> None:
    assert {"backprop", "frozen"} < set(CompareSpec().rules_or_default)
