"""The layers of a model that repeats one, and the parts of layers of common transformers."""

from collections.abc import Iterator

from torch import nn

from beyondprop._torch.modules import children, has_parameters, inside, is_chain
from beyondprop.errors import UserError
from beyondprop.models.transformer import Layer, NormFirstLayer, Parts, within

MOST = 2
"""Maximum number of stacks of layers for default blocks: an encoder and a decoder."""

KNOWN: tuple[Parts, ...] = (
    # GPT-2: here and in the next ones norms come first, and the layer ends in a sum
    (("ln_1",), ("attn",), ("ln_2",), ("mlp.c_fc", "mlp.act"), ("mlp.c_proj", "")),
    # Llama, Mistral, Qwen, Mixtral: the gate is not a module, so the products are one block
    (("input_layernorm",), ("self_attn",), ("post_attention_layernorm",), ("mlp", "")),
    (("input_layernorm",), ("self_attn",), ("post_attention_layernorm",), ("block_sparse_moe", "")),
    # ViT, DeiT
    (
        *(("layernorm_before",), ("attention",)),
        *(("layernorm_after",), ("intermediate",), ("output", "")),
    ),
    # BERT, RoBERTa, ELECTRA: attention and output end in norms
    (("attention",), ("intermediate",), ("output",)),
    # DistilBERT
    (
        ("attention", "sa_layer_norm"),
        ("ffn.lin1", "ffn.activation"),
        ("ffn.lin2", "output_layer_norm"),
    ),
    Layer.PARTS,
    NormFirstLayer.PARTS,
)
"""The blocks of layers of common transformers, each as the modules in the order they run.

An empty name is the layer itself: it ends the block, but its other parts do not belong to it.
"""

ATTENTIONS: dict[type[nn.Module], tuple[str, ...]] = {
    nn.TransformerEncoderLayer: ("self_attn",),
    nn.TransformerDecoderLayer: ("self_attn", "multihead_attn"),
}
"""Layers of PyTorch with their attentions; the position of their norms is a setting."""


def finer_blocks(model: nn.Module) -> list[str | tuple[str, ...]]:
    """Return parts of a transformer's layers as blocks, for `attach`'s ``blocks=``.

    In each layer a block ends after the attention, the activation and each norm; if norms come
    first (as in GPT-2), also at the end of the layer, after the last sum. If norms follow the sums
    with the input (as in BERT), attention and norm are one block; in the decoder of
    `beyondprop.models` with norms first, a norm and the module that reads it are one block.
    Supported are the layers of `nn.TransformerEncoder` and `nn.TransformerDecoder`, and in Hugging
    Face those of GPT-2, Llama (Mistral, Qwen, Mixtral), BERT (RoBERTa, ELECTRA), DistilBERT and ViT
    (DeiT). In a chain (`nn.Sequential`) around them the other children with parameters are blocks
    too; in other models name them in addition to these, or `attach` with ``output=``.

    Raises:
        UserError: The model has no layers of these types.
    """
    found = stacks(model)
    if not found:
        raise UserError(
            f"{type(model).__name__} holds no layers of one class in an nn.ModuleList or "
            "nn.Sequential: name its blocks in blocks="
        )
    blocks = [
        within(name, block)
        for _, layers in found
        for name, layer in layers
        for block in _parts_of(layer)
    ]
    if not is_chain(model):
        return [*blocks]
    others = [name for name, child in children(model) if has_parameters(child)]
    chain: list[str | tuple[str, ...]] = []
    for name in others:
        inner = [block for block in blocks if inside(block[0], name)]
        chain += inner or [name]
    return chain


def stacks(model: nn.Module) -> list[tuple[str, list[tuple[str, nn.Module]]]]:
    """Return the outermost lists of layers of one class in a model, with the layers' names."""
    found: list[tuple[str, list[tuple[str, nn.Module]]]] = []
    for name, module in model.named_modules():
        if any(inside(name, outer) for outer, _ in found):
            continue
        layers = children(module, name)
        kinds = {type(layer) for _, layer in layers}
        listed = isinstance(module, nn.ModuleList) or is_chain(module)
        if listed and len(layers) > 1 and len(kinds) == 1 and all(map(_is_layer, layers)):
            found.append((name, layers))
            if not name:
                break
    return found


def default_layers(model: nn.Module) -> list[str] | None:
    """Return the names of the layers of a model with one or two lists of them; None for others."""
    found = stacks(model)
    return [n for _, layers in found for n, _ in layers] if 0 < len(found) <= MOST else None


def _is_layer(named: tuple[str, nn.Module]) -> bool:
    """Whether a module has children with parameters."""
    return any(has_parameters(child) for child in named[1].children())


def _parts_of(layer: nn.Module) -> Parts:
    """Return the blocks of a layer, by the names of its modules.

    Raises:
        UserError: Its parts are not known.
    """
    for parts in (*_of_torch(layer), *KNOWN):
        if _holds_all(layer, parts):
            return parts
    raise UserError(
        f"finer_blocks does not know the parts of {type(layer).__name__}: name the modules of each "
        "block in the order they run, such as blocks=[('h.0.ln_1', 'h.0.attn'), 'h.0.mlp', ...]"
    )


def _of_torch(layer: nn.Module) -> Iterator[Parts]:
    attentions = ATTENTIONS.get(type(layer), ())
    if attentions:
        last = f"norm{len(attentions) + 1}"
        norms = [f"norm{i}" for i in range(1, len(attentions) + 1)]
        pairs = list(zip(attentions, norms, strict=True))
        if layer.norm_first:
            apart = [(part,) for attention, norm in pairs for part in (norm, attention)]
            yield (*apart, (last,), ("linear1", "dropout"), ("linear2", ""))
        else:
            yield (*pairs, ("linear1", "dropout"), ("linear2", last))


def _holds_all(layer: nn.Module, parts: Parts) -> bool:
    """Whether a layer has all of these modules, and no parameters outside them."""
    names = [name for block in parts for name in block if name]
    modules = dict(layer.named_modules())
    held = all(any(inside(p, name) for name in names) for p, _ in layer.named_parameters())
    return held and all(name in modules for name in names)
