import torch
from torch import nn

from benchmarks.common import networks


def test_every_net_is_what_its_name_says() -> None:
    for net in (*networks.step_time_networks(), *networks.memory_networks()):
        model, (inputs, targets) = net.build(), net.batch()
        with torch.no_grad():
            assert model(inputs).shape == (len(targets), networks.CLASSES), net.name
        if net.name.startswith("mlp"):
            hidden, width = map(int, net.name.removeprefix("mlp-").split("x"))
            layers = [m for m in model if isinstance(m, nn.Linear)]
            assert [m.out_features for m in layers] == [width] * hidden + [10]
