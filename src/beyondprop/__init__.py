"""BeyondProp: train any PyTorch model by something other than end-to-end backpropagation.

The names are in the stub beside this file; each is imported when it is first used.
"""

from importlib.metadata import version

from beyondprop.lazy import exports

__version__ = version("beyondprop")
__getattr__, __dir__, __all__ = exports(__name__, __file__, {"__version__": __version__})
