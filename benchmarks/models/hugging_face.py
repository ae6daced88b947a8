"""Models of Hugging Face, built from tiny configurations without downloads."""

from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.models.case import Batch, Case

VOCABULARY, WIDTH, CLASSES, SAMPLES, TOKENS = 40, 16, 3, 4, 8
SIZES = {
    "hidden_size": WIDTH,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "attention_probs_dropout_prob": 0.0,
}
TEXT = {**SIZES, "vocab_size": VOCABULARY, "max_position_embeddings": 32}
LLAMA = {**TEXT, "num_key_value_heads": 2, "pad_token_id": 0}
GPT2 = {"n_layer": 2, "n_head": 2, "n_embd": WIDTH, "n_positions": 16, "vocab_size": VOCABULARY}
T5 = {
    **{"d_model": WIDTH, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2},
    **{"vocab_size": VOCABULARY, "dropout_rate": 0.0, "decoder_start_token_id": 0},
}
WHISPER = {
    **{"d_model": WIDTH, "encoder_layers": 2, "decoder_layers": 2, "vocab_size": VOCABULARY},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_mel_bins": 4},
    **{"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_source_positions": 6},
    **{"max_target_positions": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1},
    **{"decoder_start_token_id": 1, "suppress_tokens": None, "begin_suppress_tokens": None},
}
IMAGES = {"image_size": 8, "patch_size": 4}


def made(kind: str, configuration: str, **settings: Any) -> nn.Module:
    """Return a model of Hugging Face by the names of its class and of its configuration."""
    import transformers

    config = getattr(transformers, configuration)(**settings)
    model: nn.Module = getattr(transformers, kind)(config)
    return model


def clip() -> nn.Module:
    text = {**TEXT, "eos_token_id": VOCABULARY - 1}
    return made(
        *("CLIPModel", "CLIPConfig"),
        text_config=text,
        vision_config={**SIZES, **IMAGES},
        projection_dim=8,
    )


def ids(tokens: int = TOKENS) -> torch.Tensor:
    return torch.arange(SAMPLES * tokens).view(SAMPLES, tokens).mul(7) % (VOCABULARY - 2) + 2


def classes() -> torch.Tensor:
    return torch.arange(SAMPLES) % CLASSES


def images() -> torch.Tensor:
    return torch.linspace(-1, 1, SAMPLES * 192).view(SAMPLES, 3, 8, 8).sin()


def words() -> Batch:
    return Batch({"input_ids": ids(), "labels": ids()})


def sentences() -> Batch:
    return Batch({"input_ids": ids(), "labels": classes()})


def pictures() -> Batch:
    return Batch({"pixel_values": images(), "labels": classes()})


def translations() -> Batch:
    return Batch({"input_ids": ids(TOKENS + 3), "labels": ids()})


def speech() -> Batch:
    sound = torch.linspace(-1, 1, SAMPLES * 4 * 12).view(SAMPLES, 4, 12)  # (batch, bins, frames)
    return Batch({"input_features": sound.mul(9).sin(), "labels": ids()})


def captions() -> Batch:
    text = ids()
    text[:, -1] = VOCABULARY - 1  # the end of the text
    return Batch({"input_ids": text, "pixel_values": images(), "return_loss": True})


def of_hugging_face(name: str, *model: Any, **where: Any) -> Case:
    """Return a case; its model is built by the names of its class and configuration."""
    kind, configuration, settings = model
    build = partial(made, kind, configuration, **settings)
    return Case(name, "transformer", build, package="transformers", targets="labels", **where)


def decoder(name: str, *model: Any, stem: str, norm: str, **where: Any) -> Case:
    """Return a language model whose error is taken before its vocabulary layer."""
    where = {"output": f"{stem}.{norm}", "heads": (f"{stem}.{norm}", "lm_head"), **where}
    layers = "h" if stem == "transformer" else "layers"
    return of_hugging_face(name, *model, batch=words, blocks=(f"{stem}.{layers}.*",), **where)


CASES = [
    decoder("GPT-2", "GPT2LMHeadModel", "GPT2Config", GPT2, stem="transformer", norm="ln_f"),
    decoder(
        *("GPT-2, error at the logits", "GPT2LMHeadModel", "GPT2Config", GPT2),
        **{"stem": "transformer", "norm": "ln_f", "output": "lm_head", "heads": ("lm_head",)},
    ),
    decoder(
        *("GPT-2, untied", "GPT2LMHeadModel", "GPT2Config"),
        *({**GPT2, "tie_word_embeddings": False},),
        stem="transformer",
        norm="ln_f",
    ),
    decoder("Llama", "LlamaForCausalLM", "LlamaConfig", LLAMA, stem="model", norm="norm"),
    decoder("Qwen2", "Qwen2ForCausalLM", "Qwen2Config", LLAMA, stem="model", norm="norm"),
    decoder(
        *("Mixtral", "MixtralForCausalLM", "MixtralConfig", {**LLAMA, "num_local_experts": 2}),
        stem="model",
        norm="norm",
    ),
    decoder(
        *("Mamba", "MambaForCausalLM", "MambaConfig"),
        {
            **{"hidden_size": WIDTH, "num_hidden_layers": 2, "state_size": 4},
            "vocab_size": VOCABULARY,
        },
        stem="backbone",
        norm="norm_f",
        exact=("*.A_log",),
    ),
    of_hugging_face(
        *("BERT, classes", "BertForSequenceClassification", "BertConfig"),
        {**TEXT, "num_labels": CLASSES},
        batch=sentences,
        blocks=("bert.encoder.layer.*",),
        output="classifier",
        heads=("classifier",),
    ),
    of_hugging_face(
        *("BERT, error at the pooler", "BertForSequenceClassification", "BertConfig"),
        {**TEXT, "num_labels": CLASSES},
        batch=sentences,
        blocks=("bert.encoder.layer.*",),
        output="bert.pooler",
        heads=("bert.pooler", "classifier"),
    ),
    of_hugging_face(
        *("BERT, masked words", "BertForMaskedLM", "BertConfig", TEXT),
        batch=words,
        blocks=("bert.encoder.layer.*",),
        output="cls",
        heads=("cls",),
    ),
    of_hugging_face(
        *("ViT", "ViTForImageClassification", "ViTConfig"),
        {**SIZES, **IMAGES, "num_labels": CLASSES},
        batch=pictures,
        blocks=("vit.encoder.layer.*",),
        output="classifier",
        heads=("classifier",),
    ),
    of_hugging_face(
        *("T5", "T5ForConditionalGeneration", "T5Config", T5),
        batch=translations,
        blocks=("encoder.block.*", "encoder.final_layer_norm", "decoder.block.*"),
        output="decoder.final_layer_norm",
        heads=("decoder.final_layer_norm", "lm_head"),
    ),
    of_hugging_face(
        *("Whisper", "WhisperForConditionalGeneration", "WhisperConfig", WHISPER),
        batch=speech,
        blocks=("model.encoder.layers.*", "model.encoder.layer_norm", "model.decoder.layers.*"),
        output="model.decoder.layer_norm",
        heads=("model.decoder.layer_norm", "proj_out"),
    ),
    Case(
        *("CLIP, its images", "transformer", clip, captions),
        blocks=("encoder.layers.*",),
        heads=("post_layernorm",),
        output="post_layernorm",
        part="vision_model",
        package="transformers",
    ),
    Case(
        *("CLIP, its texts", "transformer", clip, captions),
        blocks=("encoder.layers.*",),
        heads=("final_layer_norm",),
        output="final_layer_norm",
        part="text_model",
        package="transformers",
    ),
]
"""The models, in the order of the table."""
