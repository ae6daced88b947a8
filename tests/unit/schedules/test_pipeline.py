"""Blocks on two processes learn what they learn on one; and what is said when that cannot be."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD

import beyondprop as bp
from beyondprop.schedules import Pipeline
from tests.unit.schedules.two_stages import CASES, OPTIMIZERS, RULES, STEPS, batch, ended, fresh

CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def accumulated(name, rule, chunks):
    """What one process learns from the same micro-batches, each weighing as much as it has samples.

    Written slowly: the gradients of every micro-batch alone, times its share, are added up by hand.
    """
    model = fresh(name)
    attached = RULES[rule]
    handle = bp.attach(model, attached)
    learned = [*model.parameters(), *handle.parameters()]
    optimizer = OPTIMIZERS[name](learned)
    losses = []
    for step in range(STEPS):
        x, y = batch(name, step)
        sums, loss_sum = [None] * len(learned), 0.0
        for x_part, y_part in zip(x.chunk(chunks), y.chunk(chunks), strict=True):
            optimizer.zero_grad()
            with handle.targets(y_part):
                loss = F.cross_entropy(model(x_part), y_part)
            loss.backward()
            share = len(y_part) / len(y)
            loss_sum += loss.item() * share
            for i, parameter in enumerate(learned):
                if parameter.grad is not None:
                    before = 0.0 if sums[i] is None else sums[i]
                    sums[i] = before + parameter.grad * share
        for parameter, gradient in zip(learned, sums, strict=True):
            parameter.grad = gradient
        optimizer.step()
        losses.append(loss_sum)
    return losses, ended(handle, optimizer)


@pytest.mark.parametrize("case", CASES, ids=map(" ".join, CASES))
def test_two_stages_learn_what_one_process_learns(results, case):
    losses, expected = accumulated(*case, chunks=4)
    first, last = (result["trained"][case] for result in results)
    assert first["losses"] == [None] * STEPS
    torch.testing.assert_close([loss.item() for loss in last["losses"]], losses, **CLOSE)
    for found in (first, last):
        for part, wanted in expected.items():
            torch.testing.assert_close(found[part], wanted, **CLOSE)
    assert first["sizes"] == last["sizes"]
    assert sum(first["sizes"]) == 4


@pytest.mark.parametrize("rule", ["dgl", "dfa", "drtp", "frozen"])
def test_the_sum_over_micro_batches_is_the_whole_batch(rule):
    in_parts, at_once = (accumulated("convnet", rule, chunks) for chunks in (4, 1))
    torch.testing.assert_close(in_parts[0], at_once[0], **CLOSE)
    torch.testing.assert_close(in_parts[1]["weights"], at_once[1]["weights"], **CLOSE)


def test_each_process_keeps_its_own_weights_alone(results):
    for case in CASES:
        parts = [result["trained"][case]["part"] for result in results]
        assert sum(parts) == pytest.approx(1.0)
        assert all(0 < part < 1 for part in parts)


def test_a_model_in_parts_is_not_run_and_a_gathered_one_is(results):
    for result in results:
        assert "call pipeline.gather() on every process" in result["scattered"]["scattered"]
    outputs = [result["scattered"]["output"] for result in results]
    torch.testing.assert_close(*outputs, rtol=0, atol=0)


def test_stages_with_other_batches_are_told_so(results):
    assert "batches" not in results[0]["scattered"]
    assert "stage 1 got 3 samples for 1 targets" in results[1]["scattered"]["batches"]


REFUSED = {
    "sizes": "sizes= must be 2 whole numbers of at least 1, one per process, that add up to "
    "the 4 blocks",
    "split": "splits after block '0', which learns from the exact gradient of the next one",
    "few": "there are 2 processes, but only 1 parts that need no error from later layers",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_what_cannot_be_split_is_refused_and_nothing_stays_attached(results, setting):
    for result in results:
        assert REFUSED[setting] in result["scattered"][setting]
        assert not result["scattered"][f"{setting}: attached"]


@pytest.mark.parametrize("lost", ["dying", "hanging"])
def test_a_lost_stage_is_named_within_seconds(results, lost):
    assert results[0][lost]["said"] == (
        "stage 0 cannot reach stage 1: its process has ended, or did not answer in time; start all "
        "stages again from the last checkpoint (on the command line with --resume)"
    )
    assert results[0][lost]["seconds"] < 10


# In this process alone ----------------------------------------------------------------------------


@pytest.fixture
def alone():
    """A group of this one process."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def pipeline_of(model, rule, **settings):
    return Pipeline(model, rule, lambda p: SGD(p, lr=0.1), F.cross_entropy, **settings)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("rule", ["dgl", "dfa"])
def test_one_stage_is_a_pipeline_too(rule):
    model = fresh("mlp")
    pipeline = Pipeline(model, RULES[rule], OPTIMIZERS["mlp"], F.cross_entropy, chunks=4)
    losses = [pipeline.step(*batch("mlp", step)).item() for step in range(STEPS)]
    pipeline.gather()
    expected = accumulated("mlp", rule, chunks=4)
    found = losses, ended(pipeline.handle, pipeline.optimizer)
    torch.testing.assert_close(found, expected, **CLOSE)


WAVES = ["backprop", "fa", "usf", "wm", "kp", "dkp", "ebd", "scff", "dtp"]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("rule", WAVES)
def test_rules_that_need_a_wave_are_refused_with_the_reason(rule):
    model = fresh("mlp")
    with pytest.raises(bp.UserError, match="no pipeline can be made: ") as raised:
        pipeline_of(model, bp.rules.make(rule))
    assert "use" in str(raised.value)
    assert bp.attachment_of(model) is None


@pytest.mark.usefixtures("alone")
def test_a_model_that_is_no_chain_is_refused():
    class Own(nn.Module):
        pass

    with pytest.raises(bp.UserError, match="Own is not a chain of modules: put its parts into"):
        pipeline_of(Own(), bp.LocalLoss())


@pytest.mark.usefixtures("alone")
def test_bad_batches_are_refused():
    pipeline = pipeline_of(fresh("mlp"), bp.LocalLoss())
    x, y = batch("mlp", 0)
    with pytest.raises(bp.UserError, match="the first stage needs the inputs"):
        pipeline.step(None, y)
    with pytest.raises(bp.UserError, match="one entry per sample, and at least one; got 11 and 3"):
        pipeline.step(x, y[:3])
    with pytest.raises(bp.UserError, match="got 0 and 0"):
        pipeline.step(x[:0], y[:0])
    with (
        bp.exact_gradients(pipeline.handle.model),
        pytest.raises(bp.UserError, match=r"leave bp\.exact_gradients\(\) first"),
    ):
        pipeline.step(x, y)


@pytest.mark.usefixtures("alone")
def test_blocks_must_return_tensors():
    model = nn.Sequential(nn.LSTM(8, 6), nn.Linear(6, 4))
    pipeline = pipeline_of(model, bp.DirectFeedbackAlignment(), sizes=[2])
    with pytest.raises(
        bp.UserError, match="block '0' returns a tuple, but stages send only tensors"
    ):
        pipeline.step(*batch("mlp", 0))


@pytest.mark.usefixtures("alone")
def test_no_micro_batches_are_refused():
    with pytest.raises(bp.UserError, match="chunks must be a whole number of 1 or more, not 0"):
        pipeline_of(fresh("mlp"), bp.LocalLoss(), chunks=0)


def test_without_processes_the_command_is_told():
    with pytest.raises(bp.UserError, match="torchrun --nproc-per-node 2"):
        pipeline_of(fresh("mlp"), bp.LocalLoss())
