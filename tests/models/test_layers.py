"""Default and finer blocks of the transformers of Hugging Face."""

import pytest
import torch

import beyondprop as bp
from benchmarks.models.hugging_face import VOCABULARY, WIDTH, ids
from benchmarks.models.trial import gradients
from benchmarks.models.zoo import MODELS
from tests.models.by_hand import by_hand

pytestmark = [pytest.mark.foreign, pytest.mark.filterwarnings("ignore")]
T = pytest.importorskip("transformers")

CASES = [
    case
    for case in MODELS.values()
    if case.package == "transformers" and not case.part and case.name not in ("T5", "Whisper")
]
cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
known = pytest.mark.parametrize(
    "case", [case for case in CASES if case.name != "Mamba"], ids=lambda case: case.name
)


@cases
def test_layers_are_the_default_blocks(case):
    model, rule = case.model(), bp.DirectFeedbackAlignment()
    handle = bp.attach(model, rule, output=case.output, targets=case.targets)
    other = case.attach(case.model(), rule)
    assert [(b.name, b.rule) for b in handle.blocks] == [(b.name, b.rule) for b in other.blocks]
    tied = "transformer.wte.weight = lm_head.weight" in str(handle.report)
    assert tied == (case.name in ("GPT-2", "GPT-2, error at the logits"))


ENCODED = {"d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": VOCABULARY}
TRANSLATORS = {
    "t5": lambda: T.T5ForConditionalGeneration(
        T.T5Config(VOCABULARY, WIDTH, 8, 32, 2, num_heads=2, decoder_start_token_id=0)
    ),
    "bart": lambda: T.BartForConditionalGeneration(
        T.BartConfig(
            **ENCODED,
            **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 2),
            **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
        )
    ),
}


@pytest.mark.parametrize("name", TRANSLATORS)
def test_of_an_encoder_and_a_decoder_all_layers_are_default_blocks(name):
    model = TRANSLATORS[name]().eval()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), output="lm_head", targets="labels")
    sides = [next(s for s in ("encoder", "decoder") if s in b.name) for b in handle.blocks[:-1]]
    assert sides == ["encoder", "encoder", "decoder", "decoder"]
    model(input_ids=ids(), labels=ids(5)).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert "shared.weight = " in str(handle.report)


@known
def test_finer_blocks_learn_what_is_computed_by_hand(case):
    rule, model = bp.DirectFeedbackAlignment(), case.model()
    blocks = bp.finer_blocks(model)
    handle = bp.attach(model, rule, blocks=blocks, output=case.output, targets=case.targets)
    taught = {name for block in handle.blocks[:-1] for name, _ in block.parameters()}
    stem = case.blocks[0].removesuffix("*")
    assert taught == {n for n, _ in model.named_parameters() if n.startswith(stem)}
    case.loss_of(model, case.batch()).backward()
    expected = by_hand(case, rule, [block[-1] for block in blocks])
    torch.testing.assert_close(gradients(model), expected, rtol=1e-4, atol=1e-6)


def test_finer_blocks_do_not_know_every_layer():
    with pytest.raises(bp.UserError, match="does not know the parts of MambaBlock"):
        bp.finer_blocks(MODELS["Mamba"].model())
