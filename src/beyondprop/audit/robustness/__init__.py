"""How easily a model is fooled: attacks with exact gradients, without gradients, and
corruptions.
"""

from beyondprop.audit.robustness.accuracy import (
    curve,
    masking,
    robust_accuracy,
    share,
    withstood,
)
from beyondprop.audit.robustness.attacks.autoattack import AutoAttack
from beyondprop.audit.robustness.attacks.base import Attack
from beyondprop.audit.robustness.attacks.pgd import Pgd, odds_against
from beyondprop.audit.robustness.attacks.square import Square
from beyondprop.audit.robustness.corruptions import (
    OF_IMAGES,
    OF_TABLES,
    Corruption,
    corrupted,
    corruptions_of,
)
from beyondprop.audit.robustness.ranges import Ranges
from beyondprop.audit.robustness.section import Robustness

__all__ = [
    "OF_IMAGES",
    "OF_TABLES",
    "Attack",
    "AutoAttack",
    "Corruption",
    "Pgd",
    "Ranges",
    "Robustness",
    "Square",
    "corrupted",
    "corruptions_of",
    "curve",
    "masking",
    "odds_against",
    "robust_accuracy",
    "share",
    "withstood",
]
