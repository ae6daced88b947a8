"""Graphs: nodes of one graph as samples, Cora, Planetoid's files, and tasks on them."""

from beyondprop.tasks.graphs.nodes import Graph, Nodes, both_ways, drawn, features, in_parts, shares
from beyondprop.tasks.graphs.tasks import (
    CORA_CHEB,
    CORA_GAT,
    CORA_GCN,
    CORA_SAGE,
    CORA_SPLINE,
    from_planetoid,
    of_nodes,
)

__all__ = [
    "CORA_CHEB",
    "CORA_GAT",
    "CORA_GCN",
    "CORA_SAGE",
    "CORA_SPLINE",
    "Graph",
    "Nodes",
    "both_ways",
    "drawn",
    "features",
    "from_planetoid",
    "in_parts",
    "of_nodes",
    "shares",
]
