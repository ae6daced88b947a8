"""What a rule cannot teach it refuses, and says why and what to do instead."""

import pytest
import torch
from torch import nn

import beyondprop as bp
from beyondprop.rules import LayerRule
from tests import internals
from tests.contract.teaching import CHOOSY, RULES, attach, attached, refusal, taken, taught
from tests.modules import CASE, CASES

REFUSED = [
    (case, rule) for case in CASES for rule in RULES if taken(case, rule) and refusal(case, rule)
]
OPERATIONS = [rule for rule in RULES if isinstance(bp.rules.RULES[rule], LayerRule)]
CUTS = [rule for rule in RULES if bp.rules.RULES[rule].traits.ends_graph]


@pytest.mark.parametrize(("case", "rule"), REFUSED, ids=[f"{c}-{r}" for c, r in REFUSED])
def test_modules_that_a_rule_cannot_teach(case, rule):
    model, handle = attached(case, rule)
    with pytest.raises(bp.UserError, match=refusal(case, rule)):
        taught(case, model, case.batch()).backward()
    assert internals.open_pass(handle) is None
    batch = case.batch()
    with bp.exact_gradients(model):
        taught(case, model, batch).backward()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("rule", OPERATIONS)
def test_operation_rules_name_what_must_stay_exact(case, rule):
    if not case.exact_under(rule):
        attached(case, rule)
        return
    model = case.fresh()
    with pytest.raises(bp.AttachError, match=f"'{case.exact[0]}'.*keep it.* exact"):
        bp.attach(model, bp.rules.make(rule), case.blocks)
    assert f"exact, as asked: {case.exact[0]}" in str(attach(case, model, rule).report)


@pytest.mark.parametrize("case", [CASE["late-parameter"], CASE["class-token"]], ids=str)
@pytest.mark.parametrize("rule", CUTS)
def test_parameters_between_blocks_must_be_given_a_rule(case, rule):
    with pytest.raises(bp.AttachError, match=f"no block holds {case.backprop[0]}"):
        bp.attach(case.fresh(), bp.rules.make(rule), case.blocks)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.Sequential(nn.Flatten(), nn.ReLU()),
        lambda: nn.Sequential(nn.BatchNorm1d(8, affine=False)),
    ],
    ids=["neither", "buffers"],
)
def test_a_model_without_parameters_has_nothing_to_learn(rule, build):
    with pytest.raises(bp.AttachError, match="the model has no parameters to learn"):
        bp.attach(build(), bp.rules.make(rule))


@pytest.mark.parametrize("rule", RULES)
def test_lazy_layers_must_have_their_shapes(rule):
    with pytest.raises(bp.AttachError, match=r"'0\.weight' has no shape yet: run the model once"):
        bp.attach(nn.Sequential(nn.LazyLinear(4)), bp.rules.make(rule))


@pytest.mark.parametrize("rule", ["kp", "dkp", "dtp"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "residual"])
def test_learned_feedback_that_no_optimizer_holds(name, rule):
    case = CASE[name]
    if not taken(case, rule):
        return
    model, handle = attached(case, rule)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    taught(case, model, case.batch()).backward()
    optimizer.zero_grad()
    with pytest.raises(bp.UserError, match=r"build the optimizer over .*handle\.parameters\(\)"):
        taught(case, model, case.batch())
    assert internals.open_pass(handle) is None


PEPITA = """mlp batch-of-one flatten equal-widths no-bias in-place one-block nested named-children
frozen-part no-parameters width-one once-lazy dropout-eval conv-3d"""

SOFT_HEBB = """mlp batch-of-one flatten equal-widths no-bias in-place one-block named-children
shared-activation frozen-part buffers no-parameters width-one once-lazy dropout-eval double residual
dense reuse unused-branch no-grad-part detached-part branch-on-mode branch-on-data
gated routed tuple-output list-output namedtuple-output dict-output dataclass-output nested-output
goodness conv-3d siamese two-inputs keywords-only"""


@pytest.mark.parametrize("rule", CHOOSY)
def test_which_models_the_choosy_rules_take(rule):
    """One that took none, or refused those it can teach, would leave the contract tests empty."""
    expected = {
        "softhebb": SOFT_HEBB.split(),
        "ff": ["goodness"],
        "scff": [case.name for case in CASES if isinstance(case.fresh(), nn.Sequential)],
        "pepita": PEPITA.split(),
        **dict.fromkeys(("dualprop", "pc", "epc"), PEPITA.split()),
        "dtp": [case.name for case in CASES if isinstance(case.fresh(), nn.Sequential)],
    }
    assert {case.name for case in CASES if taken(case, rule)} == set(expected[rule])


@pytest.mark.parametrize("rule", CHOOSY)
def test_the_choosy_rules_say_which_models_they_take(rule):
    case = CASE["rnncell"]
    said = r"nn\.Sequential|a GoodnessNetwork|not a Recurrent|linear layers and convolutions"
    with pytest.raises(bp.AttachError, match=said):
        attach(case, case.fresh(), rule)


def test_pairs_go_through_whole_chains_alone():
    scff, hidden = bp.SelfContrastiveForwardForward(), CASE["residual"]
    inside = nn.Sequential(hidden.fresh(), nn.Linear(4, 4))
    with pytest.raises(bp.AttachError, match=r"it teaches an nn\.Sequential, not a Residual"):
        bp.attach(inside, scff, ["0.stem", "0.layers.*", "0.head", "1"])
    bp.attach(inside, scff).remove()
    for rules in ({"0": bp.Frozen(), "*": scff}, {"0": scff, "2": bp.Frozen(), "*": scff}):
        model = CASE["equal-widths"].fresh()
        with pytest.raises(
            bp.UserError, match="must teach consecutive blocks, starting with the first"
        ):
            bp.attach(model, rules)
        assert bp.attachment_of(model) is None
    bp.attach(CASE["equal-widths"].fresh(), {"0": scff, "2": scff, "*": bp.Frozen()})
