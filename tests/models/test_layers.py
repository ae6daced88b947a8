"""Default and finer blocks of the transformers of Hugging Face."""

import pytest
import torch

import beyondprop as bp

pytestmark = [pytest.mark.foreign, pytest.mark.filterwarnings("ignore")]
T = pytest.importorskip("transformers")

VOCABULARY, WIDTH = 40, 16
SIZES = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": 32}
LLAMA = {**TEXT, "num_key_value_heads": 2}
IDS = torch.arange(4 * 8).view(4, 8).mul(7) % (VOCABULARY - 2) + 2
CLASSES = torch.arange(4) % 3
WORDS = {"input_ids": IDS, "labels": IDS}
IMAGES = {"pixel_values": torch.linspace(-1, 1, 4 * 192).view(4, 3, 8, 8), "labels": CLASSES}


def gpt2(tied):
    shape = {"n_layer": 2, "n_head": 2, "n_embd": WIDTH, "n_positions": 16}
    return T.GPT2LMHeadModel(T.GPT2Config(vocab_size=VOCABULARY, tie_word_embeddings=tied, **shape))


def vit():
    image = {"image_size": 8, "patch_size": 4, "num_labels": 3}
    return T.ViTForImageClassification(T.ViTConfig(**SIZES, **image))


def mixtral():
    return T.MixtralForCausalLM(T.MixtralConfig(**LLAMA, num_local_experts=2))


def mamba():
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 4}
    return T.MambaForCausalLM(T.MambaConfig(vocab_size=VOCABULARY, **sizes))


def bert_for_classes():
    return T.BertForSequenceClassification(T.BertConfig(**TEXT, num_labels=3))


CASES = {
    "gpt2": (lambda: gpt2(True), WORDS, "transformer.h.*", "transformer.ln_f"),
    "gpt2, logits": (lambda: gpt2(True), WORDS, "transformer.h.*", "lm_head"),
    "gpt2, untied": (lambda: gpt2(False), WORDS, "transformer.h.*", "transformer.ln_f"),
    "llama": (
        lambda: T.LlamaForCausalLM(T.LlamaConfig(**LLAMA)),
        *(WORDS, "model.layers.*", "model.norm"),
    ),
    "qwen2": (
        lambda: T.Qwen2ForCausalLM(T.Qwen2Config(**LLAMA)),
        *(WORDS, "model.layers.*", "model.norm"),
    ),
    "mixtral": (mixtral, WORDS, "model.layers.*", "model.norm"),
    "mamba": (mamba, WORDS, "backbone.layers.*", "backbone.norm_f"),
    "bert, classes": (
        bert_for_classes,
        *({"input_ids": IDS, "labels": CLASSES}, "bert.encoder.layer.*", "classifier"),
    ),
    "bert, masked": (
        lambda: T.BertForMaskedLM(T.BertConfig(**TEXT)),
        *(WORDS, "bert.encoder.layer.*", "cls"),
    ),
    "vit": (vit, IMAGES, "vit.encoder.layer.*", "classifier"),
}


def built(case):
    torch.manual_seed(0)
    return CASES[case][0]().eval()


def attached(case, rule):
    model, (_, _, blocks, output) = built(case), CASES[case]
    return model, bp.attach(model, rule, blocks=[blocks], output=output, targets="labels")


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters()}


def by_hand(case, rule, last=None):
    """Return what direct feedback alignment teaches, by hooks that cut and nothing else.

    Args:
        case: Of `CASES`.
        rule: Whose projection is used.
        last: Names of the modules that end blocks; by default the layers.
    """
    model, (_, batch, blocks, output) = built(case), CASES[case]
    ends, taken = [], {}

    def cut(name):
        def hook(_module, _inputs, out):
            first = out[0] if isinstance(out, tuple) else out
            ends.append((name, first))
            behind = first.detach()
            return (behind, *out[1:]) if isinstance(out, tuple) else behind

        return hook

    def take(_module, _inputs, out):
        taken["made"], taken["leaf"] = out, out.detach().requires_grad_()
        return taken["leaf"]

    stem = blocks.removesuffix(".*")
    for name in last or [f"{stem}.{n}" for n, _ in model.get_submodule(stem).named_children()]:
        model.get_submodule(name).register_forward_hook(cut(name))
    model.get_submodule(output).register_forward_hook(take)
    model(**batch).loss.backward()
    error = taken["leaf"].grad
    made_of, signals = [taken["made"]], [error]
    for name, made in ends:
        block = bp.core.Block(name, rule, (), model)
        stream = rule.projection.stream(block.stream)
        feedback = rule.projection.matrix(error.shape[-1], made.shape[-1], stream, error)
        signal = error @ feedback
        per_sample = error.dim() == 2 and made.dim() == 3  # then all tokens get the same
        made_of.append(made)
        signals.append(signal[:, None].expand(made.shape) if per_sample else signal)
    torch.autograd.backward(made_of, signals)  # at once: embeddings may lie in several graphs
    return gradients(model)


@pytest.mark.parametrize("case", CASES)
def test_layers_are_the_default_blocks(case):
    model, output = built(case), CASES[case][3]
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), output=output, targets="labels")
    other = attached(case, bp.DirectFeedbackAlignment())[1]
    assert [(b.name, b.rule) for b in handle.blocks] == [(b.name, b.rule) for b in other.blocks]
    tied = "transformer.wte.weight = lm_head.weight" in str(handle.report)
    assert tied == (case in ("gpt2", "gpt2, logits"))


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
    model(input_ids=IDS, labels=IDS[:, :5].contiguous()).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert "shared.weight = " in str(handle.report)


@pytest.mark.parametrize("case", [case for case in CASES if case != "mamba"])
def test_finer_blocks_learn_what_is_computed_by_hand(case):
    rule, model = bp.DirectFeedbackAlignment(), built(case)
    blocks = bp.finer_blocks(model)
    stem = CASES[case][2].removesuffix(".*")
    handle = bp.attach(model, rule, blocks=blocks, output=CASES[case][3], targets="labels")
    taught = {name for block in handle.blocks[:-1] for name, _ in block.parameters()}
    assert taught == {n for n, _ in model.named_parameters() if n.startswith(f"{stem}.")}
    model(**CASES[case][1]).loss.backward()
    expected = by_hand(case, rule, [block[-1] for block in blocks])
    torch.testing.assert_close(gradients(model), expected, rtol=1e-4, atol=1e-6)


def test_finer_blocks_do_not_know_every_layer():
    with pytest.raises(bp.UserError, match="does not know the parts of MambaBlock"):
        bp.finer_blocks(mamba())
