"""Fast forms for small networks; importing this package registers them."""

from beyondprop.engine import forms
from beyondprop.engine.fast.chain import Chain
from beyondprop.engine.fast.chain_step import ChainStep
from beyondprop.engine.fast.watched import Watched

forms.register(Chain())
forms.register(Watched())

__all__ = ["ChainStep"]
