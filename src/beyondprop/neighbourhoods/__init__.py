"""Taking a trained network apart, training the pieces alone, and putting them together again."""

from beyondprop.neighbourhoods.activations import Activations, Cached, Streamed
from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.capture import Cache, capture
from beyondprop.neighbourhoods.layout import Layout, check_pieces, layouts
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood, merged, split

__all__ = [
    "Activations",
    "Cache",
    "Cached",
    "Call",
    "Layout",
    "Neighbourhood",
    "Streamed",
    "calls",
    "capture",
    "check_pieces",
    "layouts",
    "merged",
    "split",
]
