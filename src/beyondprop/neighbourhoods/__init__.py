"""Taking a trained network apart, training the pieces alone, and putting them together again."""

from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.layout import Layout, check_pieces, layouts
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood, merged, split

__all__ = ["Call", "Layout", "Neighbourhood", "calls", "check_pieces", "layouts", "merged", "split"]
