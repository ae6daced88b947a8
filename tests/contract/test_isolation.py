"""Direct rules teach every block without the blocks behind it; all others go through them."""

import pytest
import torch

from beyondprop.measure import isolation
from beyondprop.rules import RULES, LayerRule
from tests.contract.teaching import attached, gradients, pairs
from tests.modules import CASE

NAMES = (
    "mlp",
    "convnet",
    "residual",
    "reuse",
    "transformer-layer",
    "decoder-across-blocks",
    "unet",
    "lstmcell",
    "words-and-places",
    "tuple-output",
)
MODELS = [CASE[name] for name in NAMES]


@pairs(MODELS)
def test_direct_rules_isolate_blocks_and_others_do_not(case, rule):
    _, handle = attached(case, rule)
    (inputs,), _ = case.batch()
    found = isolation(handle, inputs, case.classes())
    # What PEPITA compares in a layer depends on the layers behind it by the error alone; targets
    # are sent back through all of them.
    direct = RULES[rule].traits.ends_graph and "sent_back" not in RULES[rule].traits.needs
    assert found.isolated == (direct or rule == "pepita"), found


@pairs(MODELS, [name for name, rule in RULES.items() if isinstance(rule, LayerRule)])
def test_operation_rules_send_errors_by_matrices_of_their_own(case, rule):
    """With an output layer of zeros, backprop and all that follows the weights teach nothing."""
    model, handle = attached(case, rule)
    with torch.no_grad():
        for _, parameter in handle.blocks[-1].parameters():
            parameter.zero_()
    first = [name for name, _ in handle.blocks[0].parameters()]
    gave = gradients(case, model, case.batch())
    assert any(gave[name].any() for name in first) == (rule in ("fa", "kp"))


@pytest.mark.parametrize("case", MODELS, ids=str)
def test_backprop_is_what_isolation_is_measured_against(case):
    _, handle = attached(case, "dfa")
    (inputs,), _ = case.batch()
    assert any(
        change for row in isolation(handle, inputs, case.classes()).backprop for change in row
    )
