"""BeyondProp: train any PyTorch model by something other than end-to-end backpropagation."""

from importlib.metadata import version

from beyondprop import (
    layers,
    optics,
    projections,
    rules,
    slots,
)
from beyondprop.engine.attach import AttachError, attach, exact_gradients
from beyondprop.engine.attachment import Attachment, attachment_of
from beyondprop.engine.fast import ChainStep
from beyondprop.engine.stacks import finer_blocks
from beyondprop.errors import UserError
from beyondprop.models.goodness import AddedPattern, FirstPixels, GoodnessNetwork
from beyondprop.projections import Dense
from beyondprop.rules import (
    PEPITA,
    AugLocal,
    Backprop,
    BatchRandomSignSymmetry,
    CategoricalOutput,
    CrossEntropy,
    DifferenceTargetPropagation,
    DirectFeedbackAlignment,
    DirectKolenPollack,
    DirectRandomTargetProjection,
    DualPropagation,
    ErrorBroadcastDecorrelation,
    ErrorPredictiveCoding,
    FeedbackAlignment,
    FixedRandomSignSymmetry,
    ForwardForward,
    ForwardGradient,
    Frozen,
    GaussianOutput,
    InfoPro,
    KolenPollack,
    LocalForwardGradient,
    LocalLoss,
    PooledConvolution,
    PredictiveCoding,
    PredSim,
    SelfContrastiveForwardForward,
    SignSymmetry,
    SimilarityMatching,
    SoftHebb,
    WeightMirror,
)
from beyondprop.schedules import DataParallel, Immediate, Pipeline

__version__ = version("beyondprop")

__all__ = [
    "PEPITA",
    "AddedPattern",
    "AttachError",
    "Attachment",
    "AugLocal",
    "Backprop",
    "BatchRandomSignSymmetry",
    "CategoricalOutput",
    "ChainStep",
    "CrossEntropy",
    "DataParallel",
    "Dense",
    "DifferenceTargetPropagation",
    "DirectFeedbackAlignment",
    "DirectKolenPollack",
    "DirectRandomTargetProjection",
    "DualPropagation",
    "ErrorBroadcastDecorrelation",
    "ErrorPredictiveCoding",
    "FeedbackAlignment",
    "FirstPixels",
    "FixedRandomSignSymmetry",
    "ForwardForward",
    "ForwardGradient",
    "Frozen",
    "GaussianOutput",
    "GoodnessNetwork",
    "Immediate",
    "InfoPro",
    "KolenPollack",
    "LocalForwardGradient",
    "LocalLoss",
    "Pipeline",
    "PooledConvolution",
    "PredSim",
    "PredictiveCoding",
    "SelfContrastiveForwardForward",
    "SignSymmetry",
    "SimilarityMatching",
    "SoftHebb",
    "UserError",
    "WeightMirror",
    "__version__",
    "attach",
    "attachment_of",
    "exact_gradients",
    "finer_blocks",
    "layers",
    "optics",
    "projections",
    "rules",
    "slots",
]
