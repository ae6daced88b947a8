"""Experiments: they read a spec, and write a folder with a record.

The stub next to this file lists the names; each is imported at its first use.
"""

from beyondprop.lazy import exports

__getattr__, __dir__, __all__ = exports(__name__, __file__)
