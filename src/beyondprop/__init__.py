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
    DirectFeedbackAlignment,
    DirectKolenPollack,
    DirectRandomTargetProjection,
    ErrorBroadcastDecorrelation,
    FeedbackAlignment,
    FixedRandomSignSymmetry,
    Frozen,
    KolenPollack,
    SignSymmetry,
    WeightMirror,
)

__version__ = version("beyondprop")

__all__ = [
    "AttachError",
    "Attachment",
    "Backprop",
    "BatchRandomSignSymmetry",
    "ChainStep",
    "Dense",
    "DirectFeedbackAlignment",
    "DirectKolenPollack",
    "DirectRandomTargetProjection",
    "ErrorBroadcastDecorrelation",
    "FeedbackAlignment",
    "FixedRandomSignSymmetry",
    "Frozen",
    "KolenPollack",
    "SignSymmetry",
    "UserError",
    "WeightMirror",
    "__version__",
    "attach",
    "attachment_of",
    "exact_gradients",
    "projections",
    "rules",
]
