"""Multimodal tasks: views of digits, sound and picture, text and table, generated data."""

from beyondprop.tasks.multimodal.aligned import from_aligned
from beyondprop.tasks.multimodal.clothing import CLOTHING_REVIEWS
from beyondprop.tasks.multimodal.common import INFORMATIVE, informative, of_modalities, side_by_side
from beyondprop.tasks.multimodal.digit_views import MFEAT_ALL, MFEAT_CORRUPTED, MFEAT_FEW, mfeat
from beyondprop.tasks.multimodal.drawn import GENERATED_AMBIGUOUS, generated
from beyondprop.tasks.multimodal.spoken import SPOKEN_DIGITS

__all__ = [
    "CLOTHING_REVIEWS",
    "GENERATED_AMBIGUOUS",
    "INFORMATIVE",
    "MFEAT_ALL",
    "MFEAT_CORRUPTED",
    "MFEAT_FEW",
    "SPOKEN_DIGITS",
    "from_aligned",
    "generated",
    "informative",
    "mfeat",
    "of_modalities",
    "side_by_side",
]
