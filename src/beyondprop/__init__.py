"""BeyondProp: train any PyTorch model with learning rules other than end-to-end backpropagation.

The names are listed in the stub next to this file. Each is imported on first use.
"""

from importlib.metadata import version

from beyondprop.lazy import exports

__version__ = version("beyondprop")
__getattr__, __dir__, __all__ = exports(__name__, __file__, {"__version__": __version__})
