"""Splits a trained network into pieces, trains replacements alone, and assembles them again."""

from beyondprop.lazy import listing
from beyondprop.neighbourhoods.activations import Activations, Cached, Streamed
from beyondprop.neighbourhoods.calls import Call, calls
from beyondprop.neighbourhoods.candidates import CANDIDATES, Candidate, make
from beyondprop.neighbourhoods.capture import Cache, capture
from beyondprop.neighbourhoods.distillation import distil
from beyondprop.neighbourhoods.draws import DRAWS, Draw, Gaussian, Matched, Mixtures, Uniform
from beyondprop.neighbourhoods.interfaces import check_pieces, interfaces
from beyondprop.neighbourhoods.labels import TEACHER
from beyondprop.neighbourhoods.layout import Layout, layouts
from beyondprop.neighbourhoods.library import Library, Student, opened
from beyondprop.neighbourhoods.neighbourhood import Neighbourhood, merged, split
from beyondprop.neighbourhoods.plan import Plan, Planned, plan
from beyondprop.neighbourhoods.search import (
    Assembly,
    Option,
    Options,
    options_of,
    replaced_alone,
    search,
)
from beyondprop.neighbourhoods.synthetic import DrawnBatches, DrawnInputs, Synthetic
from beyondprop.neighbourhoods.training import heal, teach
from beyondprop.pieces.data import Inputs
from beyondprop.pieces.distances import DISTANCES, Distance, SoftLabels
from beyondprop.pieces.training import Recipe

__all__ = [
    "CANDIDATES",
    "DISTANCES",
    "DRAWS",
    "TEACHER",
    "Activations",
    "Assembly",
    "Cache",
    "Cached",
    "Call",
    "Candidate",
    "Distance",
    "Draw",
    "DrawnBatches",
    "DrawnInputs",
    "Gaussian",
    "Inputs",
    "Layout",
    "Library",
    "Matched",
    "Mixtures",
    "Neighbourhood",
    "Option",
    "Options",
    "Plan",
    "Planned",
    "Recipe",
    "SoftLabels",
    "Streamed",
    "Student",
    "Synthetic",
    "Uniform",
    "calls",
    "capture",
    "check_pieces",
    "distil",
    "heal",
    "interfaces",
    "layouts",
    "make",
    "merged",
    "opened",
    "options_of",
    "plan",
    "replaced_alone",
    "search",
    "split",
    "teach",
]
__dir__ = listing(__all__)
