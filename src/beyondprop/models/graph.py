"""Graph networks: convolutions of node features with fixed matrices of the graph and one linear
layer.

A graph convolution is published as ``Σ_k P_k X W_k``, where each ``P_k`` is a fixed matrix of the
graph. Here all weights are in one `nn.Linear`, so that layer rules can cover it. It can be applied
on either side, as ``P (X W) = (P X) W``. In a hidden layer it is applied first, as it reduces the
number of features (`Convolution`). In an output layer it is applied last (`OutputConvolution`), so
that its output is the network's output, and a comparison can solve it for the frozen control. Only
attention has no such second form, as its matrix depends on ``X W``.

The module needs no other package. Edges are ``(2, edges)``, each from its source ``edges[0]`` to
its target ``edges[1]``; an undirected edge is stored in both directions. No node is its own
neighbour; convolutions that need self-loops add them.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS = (("conv1", "activation", "dropout"), "conv2")
"""The blocks of a `NodeClassifier`."""

OUTPUT, AXES = "conv2", "nodes features"
"""The module where a `NodeClassifier`'s error is taken, at every node, and the axes of its
output."""


class Neighbours(nn.Module):
    """Propagation of GCN: the sum over a node and its neighbours, divided by the root of both
    degrees.

    ``D^-½ (A + I) D^-½ X``, with the degrees of ``A + I`` (Kipf and Welling 2017, equation 2).
    """

    terms = 1

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, features)``."""
        degree = degrees(x, edges) + 1
        root = degree.rsqrt()
        weights = root[edges[0]] * root[edges[1]]
        return summed(x, edges, weights) + x / degree.unsqueeze(1)


class Chebyshev(nn.Module):
    """Propagation of ChebNet: Chebyshev polynomials ``T_0, T_1, …`` of the scaled Laplacian.

    ``T_k = 2 L T_{k-1} - T_{k-2}`` with ``L = -D^-½ A D^-½``, the normalised Laplacian for the
    largest eigenvalue 2 (Defferrard, Bresson and Vandergheynst 2016).

    Args:
        terms: Number of polynomials.
    """

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.terms = terms

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, terms × features)``."""
        root = degrees(x, edges).rsqrt()  # infinite for nodes without edges, but not used there
        weights = -root[edges[0]] * root[edges[1]]
        found = [x, summed(x, edges, weights)]
        for _ in range(2, self.terms):
            found.append(2 * summed(found[-1], edges, weights) - found[-2])
        return torch.cat(found[: self.terms], 1)


class MeanAndSelf(nn.Module):
    """Propagation of GraphSAGE: the mean over the neighbours, and the node itself.

    Hamilton, Ying and Leskovec 2017, with the mean aggregator.
    """

    terms = 2

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, 2 × features)``."""
        return torch.cat([mean(x, edges), x], 1)


class Splines(nn.Module):
    """Propagation of SplineConv: two means over the neighbours, and the node itself.

    With one pseudo-coordinate u in [0, 1], degree 1 and kernel size 2 the B-splines are ``1 - u``
    and ``u``, each with a weight matrix; the node itself has a third (Fey et al. 2018). u is the
    degree of an edge's target divided by the largest degree, as in published code for Cora.
    """

    terms = 3

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, 3 × features)``."""
        degree = degrees(x, edges)
        u = (degree / degree.max().clamp(min=1)).unsqueeze(1)  # (nodes, 1)
        found = mean(x, edges)
        return torch.cat([(1 - u) * found, u * found, x], 1)


class Convolution(nn.Module):
    """A graph convolution that applies its linear layer first: for more inputs than outputs.

    Weights are initialised as in Glorot and Bengio 2010, those of each term by its size, and biases
    as zero.

    Args:
        propagation: Maps (features, edges) to ``propagation.terms`` times the number of features.
        inputs: Number of input features of a node.
        outputs: Number of output features of a node.
    """

    def __init__(self, propagation: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        self.terms: int = propagation.terms  # type: ignore[assignment]
        self.propagation = propagation
        self.linear = nn.Linear(inputs, self.terms * outputs, bias=False)
        self.bias = nn.Parameter(torch.zeros(outputs))
        begin(self.linear.weight, inputs, outputs)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, outputs)``."""
        made = self.linear(x)  # (nodes, terms × outputs)
        # Every term of every part is computed, and only each part's own is used. This is cheap, and
        # both convolutions can use the same propagation.
        found = self.propagation(made, edges).unflatten(1, (self.terms, self.terms, -1))
        terms: Tensor = found.diagonal(dim1=1, dim2=2)  # (nodes, outputs, terms)
        return terms.sum(2) + self.bias


class OutputConvolution(nn.Module):
    """A graph convolution that applies its linear layer last; otherwise as `Convolution`.

    Args:
        propagation: Maps (features, edges) to ``propagation.terms`` times the number of features.
        inputs: Number of input features of a node.
        outputs: Number of output features of a node.
    """

    def __init__(self, propagation: nn.Module, inputs: int, outputs: int) -> None:
        super().__init__()
        terms: int = propagation.terms  # type: ignore[assignment]
        self.propagation = propagation
        self.linear = nn.Linear(terms * inputs, outputs)
        begin(self.linear.weight, inputs, outputs)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, outputs)``."""
        found: Tensor = self.linear(self.propagation(x, edges))
        return found


class Attention(nn.Module):
    """A graph convolution by attention (Veličković et al. 2018): scores weight the neighbours.

    The score of an edge is ``LeakyReLU(a · W x_source + b · W x_target)``; a softmax over all edges
    to a node, including a self-loop, turns scores into weights. The vectors a and b of all heads
    are grouped convolutions, so that layer rules can cover them.

    Args:
        inputs: Number of input features of a node.
        outputs: Number of output features of each head.
        heads: Number of heads, whose outputs are concatenated.
        dropout: Fraction of the weights that is dropped in training.
    """

    def __init__(self, inputs: int, outputs: int, heads: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        width = heads * outputs
        self.heads = heads
        self.linear = nn.Linear(inputs, width, bias=False)
        self.source = nn.Conv1d(width, heads, kernel_size=1, groups=heads, bias=False)
        self.target = nn.Conv1d(width, heads, kernel_size=1, groups=heads, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        self.dropout = nn.Dropout(dropout)
        begin(self.linear.weight, inputs, width)
        begin(self.source.weight, heads, outputs)
        begin(self.target.weight, heads, outputs)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Return ``(nodes, heads × outputs)``."""
        own = torch.arange(len(x), device=edges.device)
        sources, targets = torch.cat([edges, torch.stack([own, own])], 1)
        made = self.linear(x)  # (nodes, heads × outputs)
        column = made.unsqueeze(2)
        scores = self.source(column).squeeze(2)[sources] + self.target(column).squeeze(2)[targets]
        scores = F.leaky_relu(scores, 0.2)  # (edges, heads)
        weights = self.dropout(softmax_by_target(scores, targets, len(x)))
        sent = weights.unsqueeze(2) * made.unflatten(1, (self.heads, -1))[sources]
        found = sent.new_zeros(len(x), *sent.shape[1:]).index_add(0, targets, sent)
        side_by_side: Tensor = found.flatten(1)
        return side_by_side + self.bias


class InputDropout(nn.Module):
    """Dropout of the nonzero values only: equivalent, but faster if most values are zero.

    Args:
        share: Fraction of the values that is dropped in training.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        if not self.training or not self.share:
            return x
        flat = x.flatten()
        held = flat.nonzero().squeeze(1)
        kept = F.dropout(flat[held], self.share)
        return torch.zeros_like(flat).index_copy_(0, held, kept).view_as(x)


class NodeClassifier(nn.Module):
    """Two convolutions that compute logits of some nodes of a graph from all nodes and edges.

    Args:
        first: Maps (features, edges) to hidden features.
        second: Maps (hidden features, edges) to logits.
        activation: The activation between them.
        dropout: Fraction of the features before each convolution that is dropped in training.
    """

    def __init__(
        self, first: nn.Module, second: nn.Module, activation: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.inputs = InputDropout(dropout)
        self.conv1 = first
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.conv2 = second

    def forward(self, x: Tensor, edges: Tensor, nodes: Tensor) -> Tensor:
        """Return the logits of these nodes.

        Args:
            x: Features of all nodes, ``(all nodes, features)``.
            edges: Sources and targets, ``(2, edges)`` int64.
            nodes: Indices of nodes, ``(nodes,)`` int64.
        """
        hidden = self.activation(self.conv1(self.inputs(x), edges))  # (all nodes, hidden)
        logits: Tensor = self.conv2(self.dropout(hidden), edges)  # (all nodes, classes)
        return logits[nodes]


def gcn(inputs: int, classes: int, hidden: int = 16, dropout: float = 0.5) -> NodeClassifier:
    """Return a graph convolutional network (Kipf and Welling 2017)."""
    first = Convolution(Neighbours(), inputs, hidden)
    return NodeClassifier(
        first, OutputConvolution(Neighbours(), hidden, classes), nn.ReLU(), dropout
    )


def cheb(
    inputs: int, classes: int, hidden: int = 16, terms: int = 3, dropout: float = 0.5
) -> NodeClassifier:
    """Return a ChebNet (Defferrard et al. 2016), of the size in Kipf and Welling's comparison."""
    first = Convolution(Chebyshev(terms), inputs, hidden)
    second = OutputConvolution(Chebyshev(terms), hidden, classes)
    return NodeClassifier(first, second, nn.ReLU(), dropout)


def gat(
    inputs: int, classes: int, hidden: int = 8, heads: int = 8, dropout: float = 0.6
) -> NodeClassifier:
    """Return a graph attention network (Veličković et al. 2018), with ``hidden`` features per
    head."""
    first = Attention(inputs, hidden, heads, dropout)
    second = Attention(heads * hidden, classes, dropout=dropout)
    return NodeClassifier(first, second, nn.ELU(), dropout)


def sage(inputs: int, classes: int, hidden: int = 16, dropout: float = 0.5) -> NodeClassifier:
    """Return a GraphSAGE network (Hamilton et al. 2017) that sees all neighbours."""
    first = Convolution(MeanAndSelf(), inputs, hidden)
    return NodeClassifier(
        first, OutputConvolution(MeanAndSelf(), hidden, classes), nn.ReLU(), dropout
    )


def spline(inputs: int, classes: int, hidden: int = 16, dropout: float = 0.5) -> NodeClassifier:
    """Return a SplineCNN (Fey et al. 2018) as in published code for Cora."""
    first = Convolution(Splines(), inputs, hidden)
    second = OutputConvolution(Splines(), hidden, classes)
    return NodeClassifier(first, second, nn.ELU(), dropout)


def begin(weight: Tensor, inputs: int, outputs: int) -> None:
    """Initialise weights as in Glorot and Bengio 2010 for a matrix of this size."""
    bound = (6 / (inputs + outputs)) ** 0.5
    nn.init.uniform_(weight, -bound, bound)


def degrees(x: Tensor, edges: Tensor) -> Tensor:
    """Return the number of edges to each node, ``(nodes,)``, in the precision of sums over them."""
    ones = x.new_ones(edges.shape[1], dtype=torch.promote_types(x.dtype, torch.float32))
    return ones.new_zeros(len(x)).index_add(0, edges[1], ones)


def mean(x: Tensor, edges: Tensor) -> Tensor:
    """Return the mean over each node's neighbours, ``(nodes, features)``; zero if it has none."""
    return summed(x, edges, degrees(x, edges).reciprocal()[edges[1]])


def summed(x: Tensor, edges: Tensor, weights: Tensor) -> Tensor:
    """Return for each node the weighted sum of the source features of all edges to it.

    Args:
        x: ``(nodes, features)``.
        edges: ``(2, edges)``.
        weights: ``(edges,)``.
    """
    if torch.compiler.is_compiling():  # the compiler cannot trace sparse matrices
        products = x.to(weights.dtype)[edges[0]] * weights.unsqueeze(1)  # (edges, features)
        return products.new_zeros(x.shape).index_add(0, edges[1], products)
    # A product with a sparse matrix does not copy the source features of each edge.
    with torch.autocast(x.device.type, enabled=False):  # it does not support half precision
        size = len(x), len(x)
        matrix = torch.sparse_coo_tensor(edges.flip(0), weights, size, check_invariants=True)
        found: Tensor = matrix @ x.to(weights.dtype)
        return found


def softmax_by_target(scores: Tensor, targets: Tensor, nodes: int) -> Tensor:
    """Return weights of edges, which sum to 1 over the edges to a node, in every column.

    Args:
        scores: ``(edges, columns)``.
        targets: Target nodes of the edges.
        nodes: Number of nodes.
    """
    largest = scores.new_full((nodes, scores.shape[1]), -torch.inf)
    index = targets.unsqueeze(1).expand_as(scores)
    largest = largest.scatter_reduce(0, index, scores.detach(), "amax")
    powers = (scores - largest[targets]).exp()
    total = torch.zeros_like(largest).index_add(0, targets, powers)
    return powers / total[targets]
