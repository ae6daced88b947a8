"""Click prediction tasks: MovieLens-100k, and files in Criteo's format."""

from beyondprop.tasks.recommenders.criteo import (
    criteo_afn,
    criteo_autoint,
    criteo_dcn,
    criteo_deepfm,
    criteo_fm,
)

__all__ = ["criteo_afn", "criteo_autoint", "criteo_dcn", "criteo_deepfm", "criteo_fm"]
