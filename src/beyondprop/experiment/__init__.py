"""Experiments: a spec in, a folder with a record out.

The names are in the stub beside this file; each is imported when it is first used.
"""

from beyondprop.lazy import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
