"""The hooks that let the engine see a model's forward pass, where no faster form has taken it."""

from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from beyondprop._torch.pytrees import leaves
from beyondprop.core import Block
from beyondprop.engine.detach import Taught, detach
from beyondprop.engine.passes import Passes
from beyondprop.errors import UserError


def install(passes: Passes) -> list[RemovableHandle]:
    """Put hooks on the model and on the modules that make the outputs of its blocks."""
    model = passes.model
    if not passes.taught:
        if not passes.state.needed or passes.blocks[0].rule.traits.whole_model:
            return []
        return [model.register_forward_pre_hook(Begin(passes))]
    ends = {b.modules[-1][1]: EndOfBlock(passes) for b in passes.taught if b.modules}
    for block in passes.blocks:
        for name, module in block.modules:
            if module in ends:
                taught = passes.taught.get(block) if module is block.modules[-1][1] else None
                ends[module].taught.append(taught)
                parent, _, key = name.rpartition(".")
                passes.expected.append((model.get_submodule(parent), key, module))
    before = EnterModel(passes), LeaveModel(passes), CloseModel(passes)
    return [
        *_input_hooks(passes),
        *(module.register_forward_hook(hook) for module, hook in ends.items()),
        model.register_forward_pre_hook(before[0], with_kwargs=True),
        model.register_forward_hook(before[1]),
        model.register_forward_hook(before[2], always_call=True),
    ]


class Hook:
    """What all hooks share; a class, so that they can be copied and pickled with the model."""

    def __init__(self, passes: Passes) -> None:
        self.passes = passes


class EndOfBlock(Hook):
    """The forward hook on the module whose output is a block's.

    Blocks may share that module (one activation used again and again): then its n-th call in a
    forward pass is the n-th block's.
    """

    def __init__(self, passes: Passes) -> None:
        super().__init__(passes)
        self.taught: list[Taught | None] = []

    def __call__(self, module: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """End the graph at the block's output."""
        open_pass = self.passes.open_pass
        if open_pass is None:
            if torch.is_grad_enabled() and not self.passes.mode.exact:
                raise UserError(
                    "a block of an attached model is run by itself, where its rule cannot teach "
                    "it: run the whole model, or use torch.no_grad() or exact_gradients(model)"
                )
            return outputs
        if open_pass.run.apart:
            return outputs
        taught = self.taught[open_pass.call_of(module) % len(self.taught)]
        return outputs if taught is None else detach(outputs, taught, open_pass)


class InputOfBlock(Hook):
    """The forward pre-hook on a block's first module, where the rule needs the block's input."""

    def __init__(self, passes: Passes, block: Block) -> None:
        super().__init__(passes)
        self.block = block

    def __call__(self, _module: nn.Module, inputs: Any, keywords: Any) -> None:
        """Remember what the block is given."""
        open_pass = self.passes.open_pass
        if open_pass is not None and not open_pass.run.apart:
            tensor = next(leaves((inputs, keywords)), None)
            if tensor is not None:
                open_pass.inputs[self.block] = tensor.detach()


class Begin(Hook):
    """The forward pre-hook of a model whose graph ends nowhere, but whose rules have a state."""

    def __call__(self, model: nn.Module, _inputs: Any) -> None:
        """Begin a pass."""
        if torch.is_grad_enabled() and not self.passes.mode.exact:
            self.passes.state.begin(model.training)


class EnterModel(Hook):
    """The forward pre-hook of the model."""

    def __call__(self, _model: nn.Module, inputs: Any, keywords: Any) -> None:
        """Open a pass."""
        self.passes.enter((inputs, keywords))


class LeaveModel(Hook):
    """The forward hook of the model."""

    def __call__(self, _model: nn.Module, _inputs: Any, outputs: Any) -> Any:
        """Tie the ends of the pass to the outputs."""
        return self.passes.leave(outputs)


class CloseModel(Hook):
    """The forward hook of the model that runs after a failure too."""

    def __call__(self, _model: nn.Module, _inputs: Any, _outputs: Any) -> None:
        """Close the pass."""
        self.passes.close()


def _input_hooks(passes: Passes) -> list[RemovableHandle]:
    return [
        block.modules[0][1].register_forward_pre_hook(InputOfBlock(passes, block), with_kwargs=True)
        for block in passes.taught
        if block.modules and "input" in block.rule.traits.needs
    ]
