"""Check that a model still has the modules that it had when rules were attached."""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import nn

from beyondprop._torch.modules import inside
from beyondprop._torch.private import child_table
from beyondprop.core import Block, Mode
from beyondprop.engine.covering import has_weights
from beyondprop.errors import changed
from beyondprop.layers import EXACT, is_no_matrix


class Members:
    """The modules of a model whose rules must know every module.

    A layer added later would silently learn from exact gradients under a layer rule, and from no
    gradient under a rule that runs the model.

    Args:
        model: The model.
        blocks: Its blocks.
        mode: The settings of the model's passes.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[Block], mode: Mode) -> None:
        self.model, self.mode = model, mode
        self._whole = any(block.rule.traits.whole_model for block in blocks)
        self._free = [  # under other rules, which also teach layers added later
            name
            for block in blocks
            if not ({"weights"} & block.rule.traits.needs or block.rule.traits.whole_model)
            for name, _ in block.modules
        ]
        self._record()

    @staticmethod
    def matter(blocks: Sequence[Block]) -> bool:
        """Return whether a rule of these blocks must know every module."""
        traits = [block.rule.traits for block in blocks]
        return any("weights" in each.needs or each.whole_model for each in traits)

    def check(self, *_: object) -> None:
        """Check at the start of a forward pass that no module that carries errors has changed.

        In small networks a walk through all modules by name would take as long as a layer.
        Therefore this makes one comparison, and only if it fails tests whether the pass is taught.

        Raises:
            UserError: A module was replaced or added.
        """
        if tuple(chain.from_iterable(map(dict.values, self._tables))) != self._children or any(
            self._empty
        ):
            self._look_closely()

    def _record(self) -> None:
        modules = dict(self.model.named_modules())
        self._known = modules
        tables = [child_table(module) for module in modules.values()]
        self._tables = [table for table in tables if table]
        self._empty = [table for table in tables if not table]
        self._children = tuple(chain.from_iterable(map(dict.values, self._tables)))

    def _look_closely(self) -> None:
        if self.mode.exact or not torch.is_grad_enabled():
            return
        known = {id(module) for module in self._known.values()}
        present = dict(self.model.named_modules())
        for name, module in present.items():
            free = any(inside(name, outer) for outer in self._free)
            if id(module) not in known and not free and (self._whole or carries_errors(module)):
                raise changed(name)
        here = {id(module) for module in present.values()}
        gone = [name for name, module in self._known.items() if id(module) not in here]
        if gone and self._whole:
            raise changed(gone[0])
        self._record()


def carries_errors(module: nn.Module) -> bool:
    """Return whether a module holds a parameter that may be the weight of a product."""
    if isinstance(module, EXACT) or not has_weights(module):
        return False
    return not all(is_no_matrix(parameter) for parameter in module.parameters(recurse=False))
