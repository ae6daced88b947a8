"""BeyondProp: train any PyTorch model by something other than end-to-end backpropagation."""

from importlib.metadata import version

from . import projections, rules
from .attach import AttachError, attach, attachment_of, exact_gradients
from .attachment import Attachment
from .chain_step import ChainStep
from .errors import UserError
from .projections import Dense
from .rules import (
    Backprop,
    BatchRandomSignSymmetry,
    CrossEntropy,
    DirectFeedbackAlignment,
    DirectKolenPollack,
    DirectRandomTargetProjection,
    ErrorBroadcastDecorrelation,
    FeedbackAlignment,
    FixedRandomSignSymmetry,
    Frozen,
    InfoPro,
    KolenPollack,
    LocalLoss,
    PredSim,
    SignSymmetry,
    SimilarityMatching,
    WeightMirror,
)
from .schedules import Immediate

__version__ = version("beyondprop")

__all__ = [
    "AttachError",
    "Attachment",
    "Backprop",
    "BatchRandomSignSymmetry",
    "ChainStep",
    "CrossEntropy",
    "Dense",
    "DirectFeedbackAlignment",
    "DirectKolenPollack",
    "DirectRandomTargetProjection",
    "ErrorBroadcastDecorrelation",
    "FeedbackAlignment",
    "FixedRandomSignSymmetry",
    "Frozen",
    "Immediate",
    "InfoPro",
    "KolenPollack",
    "LocalLoss",
    "PredSim",
    "SignSymmetry",
    "SimilarityMatching",
    "UserError",
    "WeightMirror",
    "__version__",
    "attach",
    "attachment_of",
    "exact_gradients",
    "projections",
    "rules",
]
