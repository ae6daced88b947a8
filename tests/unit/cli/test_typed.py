"""Flags as people type them, and parameters as messages write them."""

import pytest

from beyondprop.cli.typed import in_flags, renamed
from beyondprop.errors import UserError

TRAIN = ("rule", "seed", "learning_rate", "measures", "output", "resume")
COMPARE = ("rules", "task", "tasks", "learning_rates", "measure_cost", "blocks")


@pytest.mark.parametrize(
    ("flags", "typed", "own"),
    [
        (TRAIN, "--rules dfa", "--rule dfa"),
        (COMPARE, "--rule dfa --rule=fa", "--rules dfa --rules=fa"),
        (TRAIN, "--lr 0.1", "--learning_rate 0.1"),
        (COMPARE, "--lr=0.1", "--learning_rates=0.1"),
        (COMPARE, "--task a --tasks b", "--task a --tasks b"),
        (COMPARE, "--no-measure-cost", "--measure_cost=false"),
        (TRAIN, "--rule.projection dense -x --", "--rule.projection dense -x --"),
    ],
)
def test_flags_that_mean_the_same(flags: tuple[str, ...], typed: str, own: str) -> None:
    assert renamed(typed.split(), flags) == own.split()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--sed", "there is no option --sed; did you mean '--seed'?"),
        ("--lern", "there is no option --lern; did you mean '--learning_rate'?"),
        ("--no-seeed", "there is no option --no-seeed"),
        ("--learningrate=3", "there is no option --learningrate; did you mean '--learning_rate'?"),
    ],
)
def test_an_option_that_there_is_not(typed: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        renamed([typed], TRAIN)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("add resume=True to continue", "add --resume to continue"),
        ("choose another output=", "choose another --output"),
        ("seed must be between 0 and 9", "--seed must be between 0 and 9"),
        ("seed of RunSpec must be a whole number", "--seed must be a whole number"),
        ("seed=3 is one; say rule='x', not axes=", "--seed 3 is one; say --rule 'x', not axes="),
        ("seeds must be few", "seeds must be few"),
        ("no file a/seed=1/x.csv", "no file a/seed=1/x.csv"),
        ("not http://host/?seed=3", "not http://host/?seed=3"),
        ("blobs(width=8, seed=1000) has none", "blobs(width=8, seed=1000) has none"),
        ("refused (say seed=1)", "refused (say --seed 1)"),
    ],
)
def test_messages_name_flags(message: str, said: str) -> None:
    assert in_flags(message, TRAIN) == said
