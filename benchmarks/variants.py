"""Tasks beside the package's own, to show what a choice in them does.

cd benchmarks && beyondprop compare --task variants:digits_relu
"""

from dataclasses import replace

from torch import nn

from beyondprop.tasks import find


def relu_mlp() -> nn.Module:
    """Return digits-mlp's network with ReLU in place of tanh."""
    model = find("digits-mlp").model()
    return nn.Sequential(*(nn.ReLU() if isinstance(m, nn.Tanh) else m for m in model))


digits_relu = replace(find("digits-mlp"), name="digits-mlp-relu", model=relu_mlp)
