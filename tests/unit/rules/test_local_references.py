"""Local losses, forward-forward and its self-contrastive form against their slow references.

A reference says the loss; its slopes by central differences are what the blocks must get.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.reference import blocks, forward_forward, local_loss, self_contrastive
from torch import nn

import beyondprop as bp
from beyondprop.models.goodness import Doubled
from beyondprop.rules.local.auxiliary import AugLocal

CLASSES = 3
FEATURES = 17
SIDE = 2
CLOSE = {"rtol": 1e-6, "atol": 1e-8}


def mlp():
    layers = nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 5), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(5, CLASSES))


def convnet():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 3, 3, padding=1),
        nn.Tanh(),
        nn.Sequential(nn.Flatten(), nn.Linear(27, 5), nn.Tanh()),
        nn.Linear(5, CLASSES),
    )


NETS = {"mlp": (mlp, (5, 5)), "convnet": (convnet, (5, 1, 3, 3))}
nets = pytest.mark.parametrize("net", NETS)


def built(net):
    build, shape = NETS[net]
    torch.manual_seed(1)
    model = build().double()
    return model, torch.randn(shape, dtype=torch.float64), torch.tensor([0, 2, 1, 2, 0])


def layers_of(block):
    """Return a block as the references have it, on copies of its parameters."""
    kinds = {nn.Linear: "linear", nn.Conv2d: "convolution", nn.Flatten: "flatten"}
    kinds |= {nn.Tanh: "tanh", nn.ReLU: "relu"}
    found = [
        (kinds[type(m)], *(copied(getattr(m, name, None)) for name in ("weight", "bias")))
        for _, m in block.named_modules()
        if type(m) in kinds
    ]
    return [layer for layer in found if layer[0] is not None]


def copied(tensor):
    return None if tensor is None else tensor.detach().numpy().copy()


def heads_of(handle, block):
    """Return the parameters of a block's heads, and copies of them for the reference."""
    cut = handle.taught(block)
    parameters = {} if cut is None else dict(cut.state)
    return parameters, {name: copied(p) for name, p in parameters.items()}


def taught(model, handle, x, y):
    with handle.targets(y):
        output = model(x)
    F.cross_entropy(output, y).backward()


def assert_slopes(parameter, array, loss):
    """Check that some entries of a parameter's gradient are the slopes of the reference's loss."""
    assert parameter.grad is not None
    found = blocks.slopes(loss, array)
    ours = np.array([parameter.grad.numpy()[place] for place, _ in found])
    theirs = np.array([slope for _, slope in found])
    np.testing.assert_allclose(ours, theirs, **CLOSE)
    return float(np.abs(theirs).max())


def assert_block(block, layers, loss):
    """Compare the gradients of all of a block's parameters; some of them must not be zero."""
    arrays = [array for _, *pair in layers for array in pair if array is not None]
    named = block.parameters()
    assert len(named) == len(arrays)
    sizes = [assert_slopes(p, a, loss) for (_, p), a in zip(named, arrays, strict=True)]
    assert max(sizes) > 1e-3


KEPT, TOLD = (5.0, 0.2), (0.05, 0.5)
"""What InfoPro weighs reconstruction and prediction with here, first and last."""


def dgl(outputs, _inputs, targets, head, _depth):
    return local_loss.prediction(outputs, targets, head, FEATURES)


def sim(outputs, _inputs, targets, head, _depth):
    return local_loss.similarity(outputs, targets, head, CLASSES)


def predsim(outputs, _inputs, targets, head, _depth):
    return local_loss.prediction_and_similarity(outputs, targets, head, FEATURES, CLASSES, 0.99)


def infopro(outputs, inputs, targets, head, depth):
    return local_loss.information(outputs, inputs, targets, head, FEATURES, SIDE, depth, KEPT, TOLD)


CROSS_ENTROPY = bp.CrossEntropy(features=FEATURES)
DEEP = bp.CrossEntropy(AugLocal(2, 0), FEATURES)
ONE_LAYER = bp.CrossEntropy(AugLocal(1, 1), FEATURES)
OBJECTIVES = {
    "dgl": (CROSS_ENTROPY, dgl),
    "dgl-auglocal": (DEEP, dgl),
    "sim": (bp.SimilarityMatching(), sim),
    "predsim": (bp.PredSim(prediction=CROSS_ENTROPY), predsim),
    "sim-released": (bp.SimilarityMatching(bias=False), sim),
    "predsim-released": (
        bp.PredSim(prediction=CROSS_ENTROPY, similarity=bp.SimilarityMatching(bias=False)),
        predsim,
    ),
    "infopro": (bp.InfoPro(KEPT, TOLD, ONE_LAYER, channels=2, side=SIDE), infopro),
}


@nets
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_local_losses_equal_the_reference_in_the_whole_network(net, objective):
    model, x, y = built(net)
    ours, theirs = OBJECTIVES[objective]
    handle = bp.attach(model, bp.LocalLoss(ours))
    taught(model, handle, x, y)
    *hidden, last = handle.blocks
    targets, inputs = y.tolist(), list(x.numpy())
    before = inputs
    for number, block in enumerate(hidden):
        layers, (parameters, head) = layers_of(block), heads_of(handle, block)
        depth = number / (len(hidden) - 1)

        def loss(layers=layers, head=head, before=before, depth=depth):
            outputs = [blocks.run(layers, h) for h in before]
            return theirs(outputs, inputs, targets, head, depth)

        assert_block(block, layers, loss)
        for name, parameter in parameters.items():
            assert_slopes(parameter, head[name], loss)
        before = [blocks.run(layers, h) for h in before]
    layers = layers_of(last)
    assert_block(
        last,
        layers,
        lambda: blocks.mean_cross_entropy([blocks.run(layers, h) for h in before], targets),
    )


def test_the_released_layers_of_infopro_equal_the_reference():
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.Tanh(),
        nn.Sequential(nn.Flatten(), nn.Linear(90, CLASSES)),
    ).double()
    x, y = torch.randn(5, 1, 5, 3, dtype=torch.float64), torch.tensor([0, 2, 1, 2, 0])
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy(bp.PooledConvolution(7, wide=5))))
    taught(model, handle, x, y)
    with torch.no_grad():
        for parameter in handle.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # no factor stays 1, no bias 0
            parameter.grad = None
    model.zero_grad()
    taught(model, handle, x, y)
    before, shapes = list(x.numpy()), []
    for block in handle.blocks[:-1]:
        layers, (parameters, head) = layers_of(block), heads_of(handle, block)
        shapes.append(head["auxiliary.weight"].shape)

        def loss(layers=layers, head=head, before=before):
            outputs = [blocks.run(layers, h) for h in before]
            return local_loss.prediction(outputs, y.tolist(), head, FEATURES)

        assert_block(block, layers, loss)
        for name, parameter in parameters.items():
            assert_slopes(parameter, head[name], loss)
        before = [blocks.run(layers, h) for h in before]
    assert shapes == [(8, 4, 3, 3), (6, 6, 3, 3)]  # at stride 2 and twice as wide, and neither


@pytest.mark.parametrize(
    ("layers", "x", "targets"),
    [
        ((nn.Linear(8, 6), nn.Linear(6, 3)), (2, 8), (2,)),
        ((nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)), (2, 1, 5, 5), (2, 5, 5)),
    ],
)
def test_what_the_released_layers_of_infopro_do_not_stand_on(layers, x, targets):
    model = nn.Sequential(layers[0], nn.Tanh(), layers[1])
    handle = bp.attach(model, bp.LocalLoss(bp.CrossEntropy(bp.PooledConvolution())))
    with (
        handle.targets(torch.zeros(targets, dtype=torch.int64)),
        pytest.raises(bp.UserError, match="for each sample, and block '0' does not have these"),
    ):
        model(torch.randn(x))


def test_every_head_of_the_references_is_learned():
    """That the comparison above meets pooling, deviations, both decoders and auxiliary layers."""
    model, x, y = built("convnet")
    names = {}
    for key, (objective, _) in OBJECTIVES.items():
        handle = bp.attach(model, bp.LocalLoss(objective))
        model.zero_grad()
        taught(model, handle, x, y)
        names[key] = {n: tuple(t.shape) for n, t in handle.state_dict().items() if "weight" in n}
        handle.remove()
    assert names["dgl"]["0.classifier.weight"] == (3, 16)  # 4 maps of 2 x 2 patches, not of 3 x 3
    assert names["dgl-auglocal"].keys() >= {"0.auxiliary1.weight", "2.auxiliary0.weight"}
    assert "4.auxiliary0.weight" not in names["dgl-auglocal"]
    assert names["sim"]["0.similarity.weight"] == (4, 4, 3, 3)
    assert names["sim"]["4.similarity.weight"] == (5, 5)
    assert names["infopro"]["0.decoder1.weight"] == (2, 4, 3, 3)
    assert names["infopro"]["4.decoder2.weight"] == (9, 20)


def test_hidden_blocks_and_heads_are_independent_of_the_users_loss():
    model, x, y = built("mlp")
    handle = bp.attach(model, bp.LocalLoss())
    with handle.targets(y):
        (100 * F.cross_entropy(model(x), y)).backward()
    learned = [*model.parameters(), *handle.parameters()]
    scaled = [p.grad for p in learned]
    for parameter in learned:
        parameter.grad = None
    taught(model, handle, x, y)
    outputs = [id(p) for p in model[-1].parameters()]
    for one, parameter in zip(scaled, learned, strict=True):
        times = 100 if id(parameter) in outputs else 1
        torch.testing.assert_close(one, times * parameter.grad)


LOW, HIGH = -0.3, 0.9


def goodness_net(first=1, summed=False):
    torch.manual_seed(2)
    parts = [nn.Sequential(nn.Linear(6, 5), nn.ReLU()), nn.Sequential(nn.Linear(5, 7), nn.ReLU())]
    parts.append(nn.Sequential(nn.Linear(7, 4), nn.ReLU()))
    return bp.GoodnessNetwork(parts, bp.FirstPixels(CLASSES, LOW, HIGH), first, summed).double()


def goodness_convnet():
    torch.manual_seed(2)
    parts = [
        nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.ReLU()),
    ]
    return bp.GoodnessNetwork(parts, bp.FirstPixels(CLASSES, LOW, HIGH)).double()


GOODNESS = {"mlp": (goodness_net, (4, 6)), "convnet": (goodness_convnet, (4, 1, 2, 3))}


@pytest.mark.parametrize("net", GOODNESS)
@pytest.mark.parametrize("temperature", [1.0, 20.0])
@pytest.mark.parametrize("contrast", [False, True], ids=["all classes", "right and wrong"])
def test_forward_forward_equals_the_reference(net, temperature, contrast):
    build, shape = GOODNESS[net]
    model, rule = build(), bp.ForwardForward(threshold=0.7, temperature=temperature)
    handle = bp.attach(model, rule, ["blocks.*"])
    x = torch.randn(shape, dtype=torch.float64)
    if contrast:
        candidates, y = torch.tensor([[0, 2], [2, 1], [1, 0], [0, 1]]), torch.tensor([0, 1, 1, 0])
    else:
        candidates, y = torch.arange(CLASSES).expand(4, -1), torch.tensor([0, 2, 1, 2])
    with handle.targets(y):
        output = model(x, candidates)
    F.cross_entropy(output, y).backward()
    samples = [
        (forward_forward.labelled(one, k, CLASSES, LOW, HIGH), place == right)
        for one, labels, right in zip(x.numpy(), candidates.tolist(), y.tolist(), strict=True)
        for place, k in enumerate(labels)
    ]
    for block in handle.blocks:
        layers = layers_of(block)

        def loss(layers=layers, samples=samples):
            return forward_forward.loss(layers, samples, 0.7, temperature)

        assert_block(block, layers, loss)
        samples = [
            (forward_forward.states([layers], one)[0], is_right) for one, is_right in samples
        ]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_goodness_classifies_as_the_reference_does(first):
    model = goodness_net(first)
    x = torch.randn(12, 6, dtype=torch.float64)
    layers = [layers_of(block) for block in bp.attach(model, bp.Frozen(), ["blocks.*"]).blocks]
    settings = {"classes": CLASSES, "low": LOW, "high": HIGH, "first": first}
    scores = model(x).detach()
    expected = [forward_forward.scores(layers, one, range(3), **settings) for one in x.numpy()]
    np.testing.assert_allclose(scores.numpy(), np.array(expected), rtol=1e-9)
    predictions = [forward_forward.predicted(layers, one, **settings) for one in x.numpy()]
    assert scores.argmax(1).tolist() == predictions
    assert len(set(predictions)) > 1
    candidates = torch.tensor([[2, 0]] * 12)
    np.testing.assert_allclose(model(x, candidates).detach(), np.array(expected)[:, [2, 0]])


def test_goodness_may_be_the_sum_of_squares_as_in_the_paper():
    model = goodness_net(summed=True)
    x = torch.randn(12, 6, dtype=torch.float64)
    layers = [layers_of(block) for block in bp.attach(model, bp.Frozen(), ["blocks.*"]).blocks]
    for one, scores in zip(x.numpy(), model(x).detach().numpy(), strict=True):
        for k in range(CLASSES):
            labelled = forward_forward.labelled(one, k, CLASSES, LOW, HIGH)
            states = forward_forward.states(layers, labelled)[1:]
            expected = sum(v * v for state in states for v in state.reshape(-1))
            np.testing.assert_allclose(scores[k], expected, rtol=1e-9)


@nets
@pytest.mark.parametrize("calming", [0.0, 0.3])
def test_self_contrastive_pairs_run_through_all_blocks_as_in_the_reference(net, calming):
    model, x, y = built(net)
    rule = bp.SelfContrastiveForwardForward(threshold=0.4, calming=calming)
    handle = bp.attach(model, rule)
    taught(model, handle, x, y)
    *hidden, last = handle.blocks
    like, unlike = self_contrastive.pairs(list(x.numpy()))
    batch = list(x.numpy())
    for block in hidden:
        layers = layers_of(block)

        def loss(layers=layers, like=like, unlike=unlike):
            return self_contrastive.loss(layers, like, unlike, 0.4, calming)

        assert_block(block, layers, loss)
        like, unlike, batch = (
            [blocks.run(layers, h) for h in part] for part in (like, unlike, batch)
        )
    layers = layers_of(last)
    assert_block(
        last,
        layers,
        lambda: blocks.mean_cross_entropy([blocks.run(layers, h) for h in batch], y.tolist()),
    )


@nets
def test_self_contrastive_pairs_as_in_the_released_code(net):
    plain, x, y = built(net)
    model = nn.Sequential(plain[0], Doubled(), *plain[1:])
    rule = bp.SelfContrastiveForwardForward(0.4, 0.3, 0.9, positions=True, share=0.5)
    handle = bp.attach(model, rule)
    taught(model, handle, x, y)
    *hidden, last = handle.blocks
    batch = list(x.numpy())
    like = list(zip(batch, batch, strict=True))
    unlike = list(zip(batch, [*batch[1:], batch[0]], strict=True))
    made = self_contrastive.side_by_side
    for block in hidden:
        layers = layers_of(block)

        def loss(layers=layers, like=like, unlike=unlike, made=made):
            high, low = ([made(layers, *pair) for pair in pairs] for pairs in (like, unlike))
            return self_contrastive.released_loss(high, low, (0.4, 0.9), 0.3)

        assert_block(block, layers, loss)
        like, unlike = ([(made(layers, *pair),) for pair in pairs] for pairs in (like, unlike))
        made = blocks.run
    layers, seen = layers_of(last), [h for (h,) in like]  # the read-out sees the pair too
    assert_block(
        last,
        layers,
        lambda: blocks.mean_cross_entropy([blocks.run(layers, h) for h in seen], y.tolist()),
    )


@pytest.mark.parametrize(
    ("first", "shape"), [(nn.Linear(4, 6), (4,)), (nn.Conv2d(3, 6, 3), (3, 5, 5))]
)
def test_pairs_need_a_batch_dimension(first, shape):
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(6 if len(shape) == 1 else 3, 2))
    bp.attach(model, bp.rules.make("scff"))
    with pytest.raises(bp.UserError, match="has no batch dimension: stack several"):
        model(torch.randn(shape))
