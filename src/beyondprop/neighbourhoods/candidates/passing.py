"""Operations that do not mix channels, which may come between two narrowed layers."""

from __future__ import annotations

import operator

import torch
import torch.nn.functional as F
from torch import fx, nn

ELEMENTWISE = (
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign, nn.Hardtanh, nn.Hardswish),
    *(nn.Hardsigmoid, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold),
)
POOLS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.LPPool2d),
    *(nn.Upsample, nn.ZeroPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
)
FUNCTIONS = {
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pow),
    *(operator.iadd, operator.isub, operator.imul),
    *(torch.add, torch.sub, torch.mul, torch.div, torch.neg, torch.pow, torch.square, torch.sqrt),
    *(torch.exp, torch.erf, torch.tanh, torch.sigmoid, torch.relu, torch.clamp, torch.abs),
    *(F.relu, F.relu6, F.leaky_relu, F.elu, F.celu, F.selu, F.gelu, F.silu, F.mish, F.softplus),
    *(F.sigmoid, F.tanh, F.hardtanh, F.hardswish, F.hardsigmoid, F.dropout, F.dropout2d),
}
POOLING = {
    *(F.max_pool1d, F.max_pool2d, F.max_pool3d, F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
    *(F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d),
    *(F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d),
}
METHODS = {
    *("add", "sub", "mul", "div", "neg", "pow", "square", "sqrt", "exp", "erf", "tanh", "sigmoid"),
    *("relu", "clamp", "abs", "add_", "sub_", "mul_", "div_", "relu_", "contiguous", "clone"),
}


def is_elementwise(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node computes each number from those at the same position, or drops some."""
    if isinstance(module, nn.PReLU):
        return module.num_parameters == 1
    if module is not None:
        return isinstance(module, ELEMENTWISE)
    return (node.op == "call_function" and node.target in FUNCTIONS) or (
        node.op == "call_method" and node.target in METHODS
    )


def is_pool(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node pools or pads the positions of each channel separately."""
    if module is not None:
        return isinstance(module, POOLS)
    return node.op == "call_function" and node.target in POOLING


def is_flatten(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node flattens maps to features, channel by channel."""
    if module is not None:
        return isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1)
    if node.target is not torch.flatten and (node.op, node.target) != ("call_method", "flatten"):
        return False
    given = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
    return (given.get("start_dim"), given.get("end_dim", -1)) == (1, -1)
