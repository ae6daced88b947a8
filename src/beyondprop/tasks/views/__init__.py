"""View synthesis: a radiance field learns a scene from its views, ray by ray."""

from beyondprop.tasks.views.parts import Views
from beyondprop.tasks.views.task import VIEWS_SCENE, from_mesh, from_transforms

__all__ = ["VIEWS_SCENE", "Views", "from_mesh", "from_transforms"]
