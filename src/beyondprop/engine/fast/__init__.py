"""Fast forms of small networks; importing this package registers them."""

from beyondprop.engine import forms
from beyondprop.engine.fast.chain import Chain
from beyondprop.engine.fast.chain_step import ChainStep

forms.register(Chain())

__all__ = ["ChainStep"]
