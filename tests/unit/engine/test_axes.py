"""Models that lay out their tensors in other ways are taught as those that do it plainly."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import beyondprop as bp
from beyondprop.measure import check_batch
from beyondprop.measure.blocks import block_outputs
from beyondprop.tasks import Split

BATCH, TOKENS, WIDTH, CLASSES = 4, 3, 8, 5
X = torch.randn(BATCH, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1)).double()
EACH = torch.arange(BATCH * TOKENS).view(BATCH, TOKENS) % CLASSES
ONE = torch.arange(BATCH) % CLASSES
DIRECT = (
    bp.DirectFeedbackAlignment(),
    bp.DirectRandomTargetProjection(),
    bp.DirectKolenPollack(),
    bp.ErrorBroadcastDecorrelation(),
)
RULES = (*DIRECT, bp.LocalLoss())
each_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
each_direct = pytest.mark.parametrize("rule", DIRECT, ids=lambda rule: type(rule).__name__)


class Tokens(nn.Module):
    """Two layers and a head, for each token, in an order of axes of one's own.

    ``before`` and ``after`` are what is done to the tokens in front of the layers, and undone in
    front of the head; ``pool`` leaves one row a sample.
    """

    def __init__(self, before=None, after=None, last=None, pool=None):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh())
        self.second = nn.Sequential(nn.Linear(6, 7), nn.Tanh())
        self.head = nn.Linear(7, CLASSES)
        plain = nn.Identity()
        self.steps = before or plain, after or plain, last or plain, pool or plain

    def forward(self, x):
        before, after, last, pool = self.steps
        h = after(self.second(self.first(before(x))))
        return last(self.head(pool(h)))


def gradients(model, rule, targets, axes=None, blocks=("first", "second", "head")):
    """Return the parameters' gradients, those of what the rule learns, and the rule's name."""
    torch.manual_seed(0)
    for parameter in model.double().parameters():
        nn.init.normal_(parameter)
    handle = bp.attach(model, rule, list(blocks), axes)
    with handle.targets(targets):
        output = model(X)
        F.cross_entropy(output.flatten(0, -2), targets.flatten()).backward()
    return [p.grad for p in (*model.parameters(), *handle.parameters())]


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@each_rule
def test_tokens_first(rule):
    turn = lambda x: x.transpose(0, 1)  # noqa: E731
    expected = gradients(Tokens(), rule, EACH)
    words = {"first": "tokens batch features", "second": "tokens batch features"}
    same(gradients(Tokens(turn, turn), rule, EACH, words), expected)
    first = gradients(Tokens(turn, last=turn), rule, EACH, words)
    same(first, expected)


@each_direct
def test_tokens_first_to_the_end(rule):
    turn = lambda x: x.transpose(0, 1)  # noqa: E731
    expected = gradients(Tokens(), rule, EACH)
    same(gradients(Tokens(turn), rule, EACH.t(), "tokens batch features"), expected)


@each_rule
def test_tokens_first_and_pooled(rule):
    turn = lambda x: x.transpose(0, 1)  # noqa: E731
    expected = gradients(Tokens(pool=lambda h: h.mean(1)), rule, ONE)
    words = {"first": "tokens batch features", "second": "tokens batch features"}
    same(gradients(Tokens(turn, turn, pool=lambda h: h.mean(1)), rule, ONE, words), expected)


@each_rule
@pytest.mark.parametrize("pool", [None, lambda h: h.mean(1)], ids=["each", "pooled"])
def test_tokens_flattened_into_the_batch(rule, pool):
    targets = EACH if pool is None else ONE
    flat = Tokens(lambda x: x.flatten(0, 1), lambda h: h.unflatten(0, (BATCH, TOKENS)), pool=pool)
    words = dict.fromkeys(("first", "second"), "(batch tokens) features")
    same(gradients(flat, rule, targets, words), gradients(Tokens(pool=pool), rule, targets))


@each_rule
def test_outputs_flattened_into_the_batch(rule):
    expected = gradients(Tokens(), rule, EACH)
    words = {"head": "(batch tokens) features"}
    found = gradients(Tokens(last=lambda x: x.flatten(0, 1)), rule, EACH.flatten(), words)
    same(found, expected)


def test_one_number_a_sample():
    """``(B,)`` outputs, as of recommenders, teach as ``(B, 1)`` ones."""
    found = []
    for last in (nn.Identity(), nn.Flatten(0)):
        torch.manual_seed(0)
        layers = nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, 1), last
        model = nn.Sequential(*layers).double()
        for rule in (bp.DirectFeedbackAlignment(), bp.DirectRandomTargetProjection()):
            handle = bp.attach(model, rule, blocks=["0", "2"])
            with handle.targets(ONE.double().view(BATCH, *[1] * isinstance(last, nn.Identity))):
                output = model(X[:, 0]).flatten()
                F.binary_cross_entropy_with_logits(output, ONE.double() / CLASSES).backward()
            found.append([p.grad for p in model.parameters()])
            model.zero_grad()
            handle.remove()
    same(found[2], found[0])
    same(found[3], found[1])


class Graphs(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh())
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x, batch):
        h = self.first(x)
        pooled = h.new_zeros(int(batch.max()) + 1, 6).index_add(0, batch, h)
        return self.head(pooled / batch.bincount()[:, None])


@pytest.mark.parametrize("rule", [bp.DirectFeedbackAlignment(), bp.LocalLoss()], ids=["dfa", "dgl"])
def test_graphs_are_pooled_by_the_vector_that_the_call_names(rule):
    nodes, batch = X.flatten(0, 1), torch.arange(BATCH).repeat_interleave(TOKENS)
    model = Graphs()
    torch.manual_seed(0)
    for parameter in model.double().parameters():
        nn.init.normal_(parameter)
    handle = bp.attach(model, rule, ["first", "head"], {"first": "nodes features"}, samples="batch")
    with handle.targets(ONE):
        F.cross_entropy(model(nodes, batch), ONE).backward()
    found = [p.grad for p in (*model.parameters(), *handle.parameters())]

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = model.first, model.head

        def forward(self, x):
            return self.head(self.first(x).mean(1))

    handle.remove()
    model.zero_grad()
    whole = Whole()
    handle = bp.attach(whole, rule, ["first", "head"])
    with handle.targets(ONE):
        F.cross_entropy(whole(X), ONE).backward()
    same(found, [p.grad for p in (*whole.parameters(), *handle.parameters())])


class Pooled(nn.Module):
    """As many graphs as `BATCH`, of which some may be empty, or an output for each node."""

    def __init__(self, pool=True):
        super().__init__()
        self.first, self.head = nn.Linear(WIDTH, 6), nn.Linear(6, CLASSES)
        self.pool = pool

    def forward(self, x, batch):
        h = self.first(x).tanh()
        return self.head(h.new_zeros(BATCH, 6).index_add(0, batch, h) if self.pool else h)


def test_as_many_graphs_as_nodes_are_not_taken_for_them():
    axes = {"first": "nodes features"}
    found = []
    for batch in (torch.tensor([1, 0, 3, 1]), torch.tensor([0, 1, 2, 3])):  # the third is empty
        torch.manual_seed(0)
        model = Pooled().double()
        handle = bp.attach(model, bp.LocalLoss(), ["first", "head"], axes, samples="batch")
        with handle.targets(ONE):
            F.cross_entropy(model(X[:, 0], batch), ONE).backward()
        found.append(model.first.weight.grad)
    assert not torch.allclose(*found)


def test_a_node_that_has_a_target_of_its_own_is_not_averaged_over_its_graph():
    found = []
    for samples in (None, "batch"):
        torch.manual_seed(0)
        model = Pooled(pool=False).double()
        axes = "nodes features"
        handle = bp.attach(model, bp.LocalLoss(), ["first", "head"], axes, samples=samples)
        with handle.targets(ONE):
            F.cross_entropy(model(X[:, 0], torch.tensor([1, 0, 1, 1])), ONE).backward()
        found.append(model.first.weight.grad)
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("tokens", [BATCH, BATCH + 1])
def test_inputs_that_may_begin_with_tokens_are_not_reconstructed(tokens):
    model = nn.Sequential(nn.Linear(WIDTH, 6), nn.Tanh(), nn.Linear(6, CLASSES))
    handle = bp.attach(model, bp.LocalLoss(bp.InfoPro()), axes="tokens batch features")
    targets = torch.zeros(tokens, BATCH, dtype=torch.long)
    with (
        handle.targets(targets),
        pytest.raises(bp.UserError, match="is not that of the input's samples"),
    ):
        model(torch.ones(tokens, BATCH, WIDTH))


def test_an_argument_that_the_call_has_not_is_refused():
    with pytest.raises(bp.UserError, match="samples='graph' is not an argument"):
        bp.attach(Graphs(), bp.DirectFeedbackAlignment(), ["first", "head"], samples="graph")


class EncoderDecoder(nn.Module):
    def __init__(self, first=True):
        super().__init__()
        self.encoder = nn.Linear(WIDTH, WIDTH)
        self.decoder = nn.TransformerDecoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=first)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, source, x):
        return self.head(self.decoder(x, self.encoder(source)))


def test_an_encoder_of_other_lengths_gets_the_error_of_all_tokens():
    torch.manual_seed(0)
    model = EncoderDecoder().double()
    source = torch.randn(BATCH, 6, WIDTH).double()
    blocks = ["encoder", "decoder", "head"]
    handle = bp.attach(
        model, bp.DirectFeedbackAlignment(), blocks, {"encoder": "batch source features"}
    )
    output = model(source, X)
    F.cross_entropy(output.flatten(0, 1), EACH.flatten()).backward()
    found = model.encoder.weight.grad
    handle.remove()
    logits = output.detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(logits.flatten(0, 1), EACH.flatten()), logits)
    matrix = handle.blocks[0].rule.projection.matrix(CLASSES, WIDTH, 0, error)
    model.zero_grad()
    model.encoder(source).backward((error.sum(1, keepdim=True) @ matrix).expand(-1, 6, -1))
    torch.testing.assert_close(found, model.encoder.weight.grad)


@pytest.mark.parametrize("tokens_first", [False, True])
@pytest.mark.parametrize("length", [TOKENS, 6])  # as many tokens by chance, and others
def test_a_head_on_an_encoder_predicts_the_bag_of_targets(length, tokens_first):
    torch.manual_seed(0)
    model = EncoderDecoder(not tokens_first).double()
    source = torch.randn(BATCH, length, WIDTH).double()
    blocks = ["encoder", "decoder", "head"]
    words, given = {"encoder": "batch source features"}, (source, X, EACH)
    if tokens_first:
        words = {"encoder": "source batch features", "head": "tokens batch features"}
        given = (tensor.transpose(0, 1) for tensor in given)
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()), blocks, words)
    inputs, x, targets = given
    with handle.targets(targets):
        model(inputs, x).sum().backward()
    found = model.encoder.weight.grad
    head, bias = handle.parameters()[:2]
    handle.remove()
    model.zero_grad()
    logits = F.linear(model.encoder(source).mean(1), head.detach(), bias.detach())
    each = logits[:, None].expand(-1, TOKENS, -1).flatten(0, 1)
    F.cross_entropy(each, EACH.flatten()).backward()
    torch.testing.assert_close(found, model.encoder.weight.grad)


def test_positions_that_only_a_block_has_are_averaged_where_others_have_targets():
    """Points along rays, as of radiance fields: one value a ray."""
    x = torch.randn(2, 3, 4, WIDTH).double()
    each = torch.arange(6).view(2, 3) % CLASSES
    model = Tokens(pool=lambda h: h.mean(2)).double()
    words = dict.fromkeys(("first", "second"), "batch rays points features")
    words["head"] = "batch rays features"
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy()), ["first", "second", "head"], words)
    with handle.targets(each):
        model(x).sum().backward()
    found = model.first[0].weight.grad
    handle.remove()
    model.zero_grad()
    words["head"] = "rays batch features"
    turned = Tokens(pool=lambda h: h.mean(2), last=lambda x: x.transpose(0, 1))
    turned.first, turned.second, turned.head = model.first, model.second, model.head
    torn = bp.attach(turned, bp.LocalLoss(bp.CrossEntropy()), ["first", "second", "head"], words)
    with torn.targets(each.t()):
        turned(x).sum().backward()
    assert torch.equal(found, model.first[0].weight.grad)
    torn.remove()
    head, bias = handle.parameters()[:2]
    model.zero_grad()
    logits = F.linear(model.first(x).mean(2), head.detach(), bias.detach())
    F.cross_entropy(logits.flatten(0, 1), each.flatten()).backward()
    torch.testing.assert_close(found, model.first[0].weight.grad)


def test_lengths_that_differ_by_chance_are_refused():
    model = EncoderDecoder().double()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["encoder", "decoder", "head"])
    output = model(torch.randn(BATCH, 6, WIDTH).double(), X)
    with pytest.raises(bp.UserError, match="'batch source features'"):
        output.sum().backward()


def test_layers_that_take_tokens_first_say_so():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Linear(WIDTH, WIDTH)
            self.layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0)
            self.head = nn.Linear(WIDTH, CLASSES)

        def forward(self, x):
            return self.head(self.layer(self.embed(x)).mean(0))

    model, x = Model(), torch.randn(BATCH, BATCH, WIDTH)  # as many tokens as samples
    blocks = ["embed", "layer", "head"]
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks)
    with pytest.raises(bp.UserError, match="'tokens batch features'"):
        model(x).sum().backward()
    handle.remove()
    model.zero_grad()
    handle = bp.attach(
        model, bp.DirectFeedbackAlignment(), blocks, {"embed": "tokens batch features"}
    )
    one = model(x)[1].sum()  # of one sample alone
    one.backward()
    signal = model.embed.bias.grad.clone()
    x[:, 0] = 0  # another sample
    model.zero_grad()
    model(x)[1].sum().backward()
    torch.testing.assert_close(model.embed.bias.grad, signal)


@each_direct
def test_lengths_from_pass_to_pass_draw_no_other_matrix(rule):
    """Classes of whole sequences: 200 lengths, one matrix a block."""
    model = Tokens(pool=lambda h: h.mean(1)).double()
    handle = bp.attach(model, rule, ["first", "second", "head"])
    drawn = handle.blocks[0].rule.projection._drawn
    sizes = set()
    for step in range(200):
        x = torch.randn(BATCH, 1 + step * 7 % 50, WIDTH).double()
        with handle.targets(ONE):
            loss = F.cross_entropy(model(x), ONE)
        loss.backward()
        model.zero_grad()
        sizes.add(sum(matrix.numel() for matrix in drawn.values()))
    assert sizes == {CLASSES * 6 + CLASSES * 7}


class Attending(nn.Module):
    """A block that returns its attention too, and hands a bias from block to block."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.bias = nn.Parameter(torch.zeros(TOKENS, TOKENS))

    def forward(self, x, bias=None):
        bias = self.bias if bias is None else bias
        weights = (x @ x.transpose(1, 2) + bias).softmax(-1)
        return x + torch.tanh(self.layer(weights @ x)), weights, bias


class Handing(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Attending() for _ in range(2))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        bias, weights = None, []
        for layer in self.layers:
            x, found, bias = layer(x, bias)
            weights.append(found)
        return self.head(x), weights


def test_what_else_a_block_returns_is_handed_on_and_not_taught():
    torch.manual_seed(0)
    model = Handing().double()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), ["layers.*", "head"])
    output, _ = model(X)
    F.cross_entropy(output.flatten(0, 1), EACH.flatten()).backward()
    found = [p.grad for p in model.parameters()]
    handle.remove()
    logits = output.detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(logits.flatten(0, 1), EACH.flatten()), logits)
    signal = error @ handle.blocks[0].rule.projection.matrix(CLASSES, WIDTH, 0, error)
    model.zero_grad()
    h, _, bias = model.layers[0](X)
    h.backward(signal)
    h, _, _ = model.layers[1](h.detach(), bias.detach())
    h.backward(signal)
    model.head(h.detach()).backward(error)
    assert found[:3] != [None] * 3
    expected = [p.grad for p in model.parameters()]
    assert [g is None for g in found] == [g is None for g in expected]
    for a, b in zip(found, expected, strict=True):
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_a_loss_on_what_is_handed_on_is_refused():
    model = Handing().double()
    bp.attach(model, bp.DirectFeedbackAlignment(), ["layers.*", "head"])
    output, weights = model(X)
    with pytest.raises(bp.UserError, match="uses the output of a block"):
        (output.sum() + weights[0].sum()).backward()


class Streams(nn.Module):
    """Two streams, as of a reversible net: each is needed for the parameters of one half."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, pair):
        x, y = pair
        x = x + torch.tanh(self.left(y))
        return x, y + torch.tanh(self.right(x.detach()))


class Reversible(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(Streams() for _ in range(2))
        self.head = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, x):
        pair = x, x
        for layer in self.layers:
            pair = layer(pair)
        return self.head(torch.cat(pair, -1))


def test_a_second_stream_by_which_parameters_learn_is_taught_too():
    model = Reversible().double()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), ["layers.*", "head"])
    report = check_batch(handle, X, targets=EACH)
    assert [row.reached for row in report.rows] == [1, 1, 1]


def test_measures_look_at_samples_wherever_they_are():
    turn = lambda x: x.transpose(0, 1)  # noqa: E731
    found = []
    for model, axes in (
        (Tokens(), None),
        (Tokens(turn, turn), dict.fromkeys(("first", "second"), "tokens batch features")),
    ):
        torch.manual_seed(0)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        blocks = ["first", "second", "head"]
        handle = bp.attach(model, bp.DirectFeedbackAlignment(), blocks, axes)
        found.append(block_outputs(handle, Split(X.float(), X), BATCH))
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected)


class ConvNext(nn.Module):
    """A block that convolves images, works on features last, and turns them back."""

    def __init__(self):
        super().__init__()
        self.spread = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + self.mix(self.spread(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def test_a_block_that_turns_its_channels_in_code_of_its_own_must_say_where_they_are():
    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.block, self.head = ConvNext(), nn.Linear(WIDTH, CLASSES)

        def forward(self, x):
            return self.head(self.block(x).mean((2, 3)))

    model = Pooled().double()
    x = torch.randn(BATCH, WIDTH, 3, 3).double()
    handle = bp.attach(model, bp.DirectFeedbackAlignment(), ["block", "head"])
    with pytest.raises(bp.UserError, match="'batch channels positions'"):
        model(x).sum().backward()
    handle.remove()
    handle = bp.attach(
        model,
        bp.DirectFeedbackAlignment(),
        ["block", "head"],
        {"block": "batch channels positions"},
    )
    F.cross_entropy(model(x), ONE).backward()
    found = model.block.mix.weight.grad.clone()
    handle.remove()
    logits = model(x).detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(logits, ONE), logits)
    matrix = bp.projections.Dense(shared=True).matrix(CLASSES, WIDTH * 9, 0, error)
    model.zero_grad()
    model.block(x).backward((error @ matrix).view(x.shape))
    torch.testing.assert_close(found, model.block.mix.weight.grad)


def test_a_block_of_images_that_returns_tokens_returns_tokens():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.cut, self.norm = nn.Conv2d(1, WIDTH, 2, 2), nn.LayerNorm(WIDTH)

        def forward(self, x):
            return self.norm(self.cut(x).flatten(2).transpose(1, 2))

    model = nn.Sequential(Patches(), nn.Linear(WIDTH, CLASSES)).double()
    for rule in (bp.DirectFeedbackAlignment(), bp.LocalLoss(bp.CrossEntropy())):
        handle = bp.attach(model, rule)
        with handle.targets(EACH[:, :1].expand(-1, 4)):
            model(torch.randn(BATCH, 1, 4, 4).double()).sum().backward()
        assert model[0].cut.weight.grad.any()
        model.zero_grad()
        handle.remove()
