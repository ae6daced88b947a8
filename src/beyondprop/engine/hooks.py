"""The hooks by which the engine follows a model's forward pass, unless a faster form is used."""

from collections.abc import Iterator

from torch.utils.hooks import RemovableHandle

from beyondprop._torch.private import backward_hook_tables
from beyondprop.engine.blocks import blocks_ended
from beyondprop.engine.detach import EndOfBlock, InputOfBlock
from beyondprop.engine.passes import Passes


def install(passes: Passes) -> list[RemovableHandle]:
    """Register hooks on the model and on the modules that make the outputs of its blocks."""
    model = passes.model
    if not passes.taught:
        if passes.blocks[0].rule.traits.whole_model:
            return []
        if passes.state.needed:
            return [model.register_forward_pre_hook(passes.begin)]
        members = passes.members
        return [] if members is None else [model.register_forward_pre_hook(members.check)]
    within = passes.output
    at_end = passes.after_model if within is None else passes.after_loss
    return [
        *_on_blocks(passes),
        model.register_forward_pre_hook(passes.before_model, with_kwargs=True),
        *([] if within is None else [within.module.register_forward_hook(passes.after_output)]),
        model.register_forward_hook(at_end),
        model.register_forward_hook(passes.close_model, always_call=True),
    ]


def _on_blocks(passes: Passes) -> Iterator[RemovableHandle]:
    ends = {
        block.ways[-1][1]: EndOfBlock(passes.current, passes.mode)
        for block in passes.taught
        if block.modules
    }
    called = blocks_ended(passes.blocks)
    for module, end in ends.items():
        end.backward_hooks = backward_hook_tables(module)
        end.taught = [
            None if block is None else passes.taught.get(block) for block in called[module]
        ]
    for block in passes.blocks:
        taught = passes.taught.get(block)
        for name, module in block.ways:
            if module in ends:
                parent, _, key = name.rpartition(".")
                passes.expected.append((passes.model.get_submodule(parent), key, module))
        if taught is not None and taught.reads_input and block.modules:
            hook = InputOfBlock(passes.current, block)
            yield block.modules[0][1].register_forward_pre_hook(hook, with_kwargs=True)
    for module, end in ends.items():
        yield module.register_forward_hook(end)
