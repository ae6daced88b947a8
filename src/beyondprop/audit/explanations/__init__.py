"""Why a model gives its answers: attributions and their faithfulness, interactions of features, and
concepts.
"""

from beyondprop.audit.explanations.attribution import (
    Attribution,
    Complete,
    IntegratedGradients,
    Occlusion,
    Random,
    Saliency,
    complete,
)
from beyondprop.audit.explanations.evidence import (
    answers,
    evidence,
    explained,
    probability,
    training_mean,
)
from beyondprop.audit.explanations.faithfulness import (
    area,
    deletion,
    infidelity,
    insertion,
    relative_infidelity,
    removals,
    said_of,
    sensitivity,
)
from beyondprop.audit.explanations.layers import block_ends, layer_figures
from beyondprop.audit.explanations.own import Explanation, explain
from beyondprop.audit.explanations.regions import joined, patches, shown, summed, variables
from beyondprop.audit.explanations.section import Explanations
from beyondprop.audit.explanations.shapley import Interactions, game_of, interactions
from beyondprop.audit.explanations.spearman import agreement, chance
from beyondprop.audit.explanations.tcav import ConceptTest, Pushed, concepts

__all__ = [
    "Attribution",
    "Complete",
    "ConceptTest",
    "Explanation",
    "Explanations",
    "IntegratedGradients",
    "Interactions",
    "Occlusion",
    "Pushed",
    "Random",
    "Saliency",
    "agreement",
    "answers",
    "area",
    "block_ends",
    "chance",
    "complete",
    "concepts",
    "deletion",
    "evidence",
    "explain",
    "explained",
    "game_of",
    "infidelity",
    "insertion",
    "interactions",
    "joined",
    "layer_figures",
    "patches",
    "probability",
    "relative_infidelity",
    "removals",
    "said_of",
    "sensitivity",
    "shown",
    "summed",
    "training_mean",
    "variables",
]
