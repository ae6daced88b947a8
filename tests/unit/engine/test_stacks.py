"""Default blocks of models that repeat a layer, ties in them, and blocks smaller than a layer."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.models.transformer import gpt, parts

VOCABULARY, WIDTH = 11, 8
IDS = torch.arange(3 * 5).view(3, 5).mul(7) % VOCABULARY


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + self.linear(x).tanh()


class Model(nn.Module):
    """A stack of layers within a model that is no chain, and a head tied to the embedding."""

    def __init__(self, tied=True):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Others(nn.Module):
    def __init__(self, lists):
        super().__init__()
        for i in range(lists):
            self.add_module(f"list{i}", nn.ModuleList(Layer() for _ in range(2)))
        self.head = nn.Linear(WIDTH, 2)


def small_gpt(norm_first=False):
    torch.manual_seed(0)
    return gpt(VOCABULARY, 5, WIDTH, 2, 2, norm_first)


def transformer(kind, norm_first):
    torch.manual_seed(0)
    layer = kind(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    stack = nn.TransformerEncoder if kind is nn.TransformerEncoderLayer else nn.TransformerDecoder
    more = {"enable_nested_tensor": False} if stack is nn.TransformerEncoder else {}
    return stack(layer, 2, nn.LayerNorm(WIDTH), **more)


def gradients(model):
    return {name: p.grad for name, p in model.named_parameters()}


def by_hooks(model, blocks, output, lossy):
    """Return what direct feedback alignment teaches, by hooks that cut and nothing else.

    Args:
        model: A fresh model.
        blocks: Names of the modules that end blocks.
        output: Of the module whose output carries the error.
        lossy: The model to its loss.
    """
    ends, taken = [], {}

    def cut(_module, _inputs, out):
        first = out[0] if isinstance(out, tuple) else out
        ends.append(first)
        return (first.detach(), *out[1:]) if isinstance(out, tuple) else first.detach()

    def take(_module, _inputs, out):
        taken["made"], taken["leaf"] = out, out.detach().requires_grad_()
        return taken["leaf"]

    for name in blocks:
        model.get_submodule(name).register_forward_hook(cut)
    model.get_submodule(output).register_forward_hook(take)
    lossy(model).backward()
    error = taken["leaf"].grad
    taken["made"].backward(error)
    projection = bp.DirectFeedbackAlignment().projection
    for end in ends:
        matrix = projection.matrix(error.shape[-1], end.shape[-1], 0, error)
        end.backward(error @ matrix)
    return gradients(model)


def loss_of(model):
    return F.cross_entropy(model(IDS).flatten(0, 1), IDS.flatten())


@pytest.mark.parametrize("output", ["norm", "head"])
def test_the_layers_are_the_blocks_where_the_output_is_named(output):
    model = Model()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), output=output)
    assert [b.name for b in handle.blocks] == ["layers.0", "layers.1", "layers.2", output]
    assert "tied, so they keep Backprop() everywhere: embedding.weight = head.weight" in str(
        handle.report
    )
    loss_of(model).backward()
    expected = by_hooks(Model(), [f"layers.{i}" for i in range(3)], output, loss_of)
    torch.testing.assert_close(gradients(model), expected)


def test_an_encoder_and_a_decoder_are_both_taught():
    model = Others(2)
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), output="head")
    assert [b.name for b in handle.blocks][:4] == ["list0.0", "list0.1", "list1.0", "list1.1"]


@pytest.mark.parametrize(("lists", "output"), [(3, "head"), (1, None)])
def test_elsewhere_blocks_must_be_named(lists, output):
    with pytest.raises(bp.AttachError, match="no safe default blocks") as caught:
        bp.attach(Others(lists), bp.DirectFeedbackAlignment(), output=output)
    assert ("output=, then 'list0.*' are blocks" in str(caught.value)) == (lists == 1)


def test_of_a_chain_the_ends_of_a_tie_keep_backprop():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(VOCABULARY, WIDTH), Layer(), Layer(), nn.Linear(WIDTH, VOCABULARY, bias=False)
    )
    model[3].weight = model[0].weight
    handle = bp.attach(model, bp.DirectFeedbackAlignment())
    assert [type(b.rule).__name__[:2] for b in handle.blocks] == ["Ba", "Di", "Di", "Ba"]
    assert "tied, so they keep Backprop() everywhere: 0.weight = 3.weight" in str(handle.report)
    loss_of(model).backward()
    assert all(gradient.any() for gradient in gradients(model).values())
    handle.remove()
    with pytest.raises(bp.AttachError, match="one tied parameter in two blocks"):
        bp.attach(model, bp.DirectFeedbackAlignment(), blocks=["0", "1", "2", "3"])
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), output="2")  # the other end lies behind
    assert [type(b.rule).__name__[:2] for b in handle.blocks] == ["Ba", "Di", "Ba"]


def test_a_tuple_names_the_modules_of_one_block():
    model = small_gpt()
    part = ("layers.0.down", "layers.0.norm2")
    rules = bp.DirectFeedbackAlignment()
    handle = bp.attach(model, rules, ["embed", part], output="head")
    names = [name for name, _ in handle.blocks[1].parameters()]
    assert names == [f"{each}.{kind}" for each in part for kind in ("weight", "bias")]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (("layers.0.down", "layers.0.nose"), "'layers.0.nose', which is not a module"),
        (("layers.0.activation",), "has no parameters"),
        (("layers.0.up", "layers.0.up"), "'layers.0.up', which another block holds"),
        (("layers.0", "norm"), "'layers.0', which another block holds"),
        ((), "has no parameters"),
    ],
)
def test_a_tuple_that_makes_no_block_is_refused(block, said):
    blocks = [("layers.0.attention", "layers.0.norm1"), block]
    with pytest.raises(bp.AttachError, match=said):
        bp.attach(small_gpt(), bp.DirectFeedbackAlignment(), blocks, output="head")


@pytest.mark.parametrize("norm_first", [False, True])
def test_finer_blocks_of_a_chain_name_its_other_children_too(norm_first):
    model = small_gpt(norm_first)
    blocks = bp.finer_blocks(model)
    assert [blocks[0], blocks[-1]] == ["embed", "head"]
    assert blocks[:-1] == parts(2, norm_first)
    bp.attach(model, bp.DirectFeedbackAlignment(), blocks)
    loss_of(model).backward()
    ends = [name if isinstance(name, str) else name[-1] for name in blocks[:-1]]
    expected = by_hooks(small_gpt(norm_first), ends, "head", loss_of)
    torch.testing.assert_close(gradients(model), expected)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("kind", [nn.TransformerEncoderLayer, nn.TransformerDecoderLayer])
def test_finer_blocks_of_pytorch_s_transformers(kind, norm_first):
    x = torch.linspace(-1, 1, 3 * 5 * WIDTH).view(3, 5, WIDTH).sin()
    inputs = (x,) if kind is nn.TransformerEncoderLayer else (x, x.cos())

    def lossy(model):
        return model(*inputs).pow(3).mean()

    model = transformer(kind, norm_first)
    blocks = bp.finer_blocks(model)
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks, output="norm")
    assert len(handle.blocks) == len(blocks) + 1
    taught = {name for b in handle.blocks for name, _ in b.parameters()}
    assert taught == {name for name, _ in model.named_parameters()}
    lossy(model).backward()
    ends = [name[-1] for name in blocks]
    torch.testing.assert_close(
        gradients(model), by_hooks(transformer(kind, norm_first), ends, "norm", lossy)
    )


def test_finer_blocks_refuses_layers_that_it_does_not_know():
    with pytest.raises(bp.UserError, match="does not know the parts of Layer"):
        bp.finer_blocks(Model())
    with pytest.raises(bp.UserError, match="holds no layers of one class"):
        bp.finer_blocks(nn.Linear(2, 2))


class NormFirst(Model):
    """A decoder that defines its last norm before its layers, as OPT does."""

    def __init__(self):
        super().__init__(tied=False)
        layers = self.layers
        del self.layers
        self.layers = layers


def test_layers_that_are_defined_behind_the_norm_that_follows_them_are_taught():
    model = NormFirst()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), output="norm")
    assert [b.name for b in handle.blocks] == ["layers.0", "layers.1", "layers.2", "norm"]
    loss_of(model).backward()
    expected = by_hooks(NormFirst(), [f"layers.{i}" for i in range(3)], "norm", loss_of)
    torch.testing.assert_close(gradients(model), expected)


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = Model(tied=False)
        self.last = nn.Linear(VOCABULARY, VOCABULARY)

    def forward(self, ids):
        return self.last(self.body(ids))


@pytest.mark.parametrize("rule", [bp.FeedbackAlignment(), bp.SignSymmetry()])
def test_rules_of_layers_teach_the_block_in_which_the_error_is_taken(rule):
    torch.manual_seed(0)
    model = Wrapped()
    bp.attach(model, rule, output="body.norm")
    loss_of(model).backward()
    torch.manual_seed(0)
    plain = Wrapped()
    loss_of(plain).backward()
    taught, exact = gradients(model), gradients(plain)
    name = "body.layers.0.linear.weight"
    assert not torch.allclose(taught[name], exact[name])
    torch.testing.assert_close(taught["last.weight"], exact["last.weight"])


def test_a_block_that_holds_the_output_is_not_silently_exact():
    with pytest.raises(bp.AttachError, match=r"nothing before output='body.norm'"):
        bp.attach(Wrapped(), bp.DirectFeedbackAlignment(), ["body"], output="body.norm")
