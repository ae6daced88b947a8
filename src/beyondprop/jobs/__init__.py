"""Independent work fanned out: in this process, on its cores, or on a cluster.

The names are in the stub beside this file; each is imported when it is first used.
"""

from beyondprop.lazy import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
