"""Models whose forward pass is run by their rule."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from beyondprop._torch.eager import eager
from beyondprop._torch.pytrees import leaves, replaced
from beyondprop._torch.spread import is_spread
from beyondprop._torch.threads import Turn
from beyondprop._torch.tracing import check_run, no_second_derivative, refuse_export
from beyondprop.core import ForwardPass, ModelCall, ModelResult, ModelRule
from beyondprop.engine.detach import check_not_taught
from beyondprop.engine.passes import Passes
from beyondprop.engine.rule_state import state_of
from beyondprop.engine.scale import ScaleWatch, unscaled
from beyondprop.errors import UserError


class ModelForward:
    """Replaces the model's `forward` while a rule that runs the model is attached.

    Args:
        rule: The rule.
        passes: The model's forward passes.
        state: The rule's state, kept between passes.
    """

    def __init__(self, rule: ModelRule, passes: Passes, state: dict[str, Tensor]) -> None:
        self.rule, self.passes, self.state = rule, passes, state_of(rule, state)
        self.own: Any = vars(passes.model).get("forward")
        self._hooks: list[RemovableHandle] = []
        self._turn = Turn()  # as other tensors temporarily replace the parameters

    def owners(self) -> Sequence[Tensor]:
        """Return the model's parameters, which learn in addition to the state."""
        return list(self.passes.model.parameters()) if self.state else ()

    def replace(self) -> None:
        """Replace the model's `forward` by this object."""
        vars(self.passes.model)["forward"] = self
        for block in self.passes.blocks:
            for _, module in block.modules[:1]:
                self._hooks.append(module.register_forward_pre_hook(self.check_inside))

    def remove(self) -> None:
        """Restore the model's own `forward`."""
        for hook in self._hooks:
            hook.remove()
        inside = vars(self.passes.model)
        if inside.get("forward") is self:
            del inside["forward"]
            inside.update({} if self.own is None else {"forward": self.own})

    def check_inside(self, *_: Any) -> None:
        """Check that a block runs within the model; a traced copy calls the blocks directly."""
        if not self.passes.current.outer:
            check_not_taught(self.passes.mode)

    # Not properties: the class itself would look like a wrapper to `inspect`.
    def __getattr__(self, name: str) -> Any:
        """Return the model's own `forward` for `inspect.signature`, its code for `torch.export`."""
        if name == "__code__":
            return self.__wrapped__.__code__
        if name != "__wrapped__":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        model = self.passes.model
        return type(model).forward.__get__(model) if self.own is None else self.own

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the model, and teach it if it learns and gradients are enabled.

        Raises:
            UserError: An input requires a gradient, which such a rule does not compute; or the
                model is exported.
        """
        if torch.compiler.is_exporting():
            if torch.is_grad_enabled() and not self.passes.mode.exact:
                refuse_export()
            return self.plain(*inputs, **keywords)
        return self._run(*inputs, **keywords)

    # Not compiled: dual numbers and second passes would have to be traced.
    @eager
    def _run(self, *inputs: Any, **keywords: Any) -> Any:
        with self._turn:
            parameters = dict(self.passes.model.named_parameters())
            learns = any(p.requires_grad for p in parameters.values())
            open_pass = self.passes.new_pass((inputs, keywords)) if learns else None
            self.passes.current.enter(open_pass)
            try:
                if open_pass is None:
                    return self.plain(*inputs, **keywords)
                return self._taught(parameters, open_pass.run, inputs, keywords)
            finally:
                self.passes.current.leave()

    def _taught(
        self,
        parameters: Mapping[str, Tensor],
        run: ForwardPass,
        inputs: tuple[Any, ...],
        keywords: Mapping[str, Any],
    ) -> Any:
        check_run(inputs)
        model = self.passes.model
        if any(tensor.requires_grad for tensor in leaves((inputs, keywords))):
            raise UserError(
                f"{type(self.rule).__name__} computes no gradient for the model's input, but an "
                "input requires one: detach it, or use bp.exact_gradients(model) for its exact "
                "gradient"
            )
        if any(map(is_spread, parameters.values())):
            raise UserError(
                f"{type(self.rule).__name__} runs the model itself and needs complete parameters, "
                "but these are sharded over processes: leave fully_shard and parallelize_module "
                "out, and use DistributedDataParallel"
            )
        with torch.no_grad():
            plain = PlainForward(model, self.plain)
            call = ModelCall(model, parameters, inputs, keywords, run, self.state, plain)
            result = self.rule.forward(call)
        taught = list({id(tensor): tensor for tensor in result.taught}.values())
        if not taught:
            raise UserError(
                f"{type(self.rule).__name__} finds no output that can carry an error in the "
                f"model's return value ({type(result.outputs).__name__}): return tensors of "
                "floats, alone or in tuples, lists, mappings or dataclasses"
            )
        saved = (*parameters.values(), *self.state.values(), *result.kept)
        gradients = partial(self._gradients, run, result)
        watch = self.passes.watch
        tied = ModelOutput.apply(run, gradients, watch, len(taught), *taught, *saved)
        swaps = {id(old): new for old, new in zip(taught, tied, strict=True)}
        return replaced(result.outputs, lambda tensor: swaps.get(id(tensor), tensor))

    def _gradients(
        self,
        run: ForwardPass,
        result: ModelResult,
        saved: Sequence[Tensor],
        needed: Sequence[bool],
    ) -> Sequence[Tensor | None]:
        """Return the rule's gradients for the errors; it may run blocks again for them."""
        scale = None if self.rule.traits.scales_with_loss else run.scale
        with self._turn:
            self.passes.current.enter(None)
            try:
                if scale is None:
                    return result.gradients(run.errors, saved, needed)
                with unscaled(run):
                    found = result.gradients(run.errors, saved, needed)
                return [None if each is None else each * scale.to(each) for each in found]
            finally:
                self.passes.current.leave()

    def plain(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the model's own forward pass."""
        return self.__wrapped__(*inputs, **keywords)


class PlainForward(nn.Module):
    """The model's own forward pass as a module, so that its hooks are not called a second time."""

    def __init__(self, model: nn.Module, plain: Any) -> None:
        super().__init__()
        self.model, self.plain = model, plain

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run it."""
        return self.plain(*inputs, **keywords)


class ModelOutput(torch.autograd.Function):
    """The outputs of a model that ran without a graph; its rule computes all gradients together."""

    @staticmethod
    def forward(
        ctx: Any,
        run: ForwardPass,
        gradients: Any,
        watch: ScaleWatch | None,
        count: int,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the first ``count`` tensors, the outputs; the others are kept for the rule."""
        ctx.run, ctx.gradients, ctx.count = run, gradients, count
        ctx.watch, ctx.takes_scale, ctx.leads_on = watch, True, False
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[count:])
        # Copies, as the caller may modify in place what the rule keeps.
        return tuple(output.clone() for output in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *errors: Tensor | None) -> Any:
        """Return the gradients of the saved tensors."""
        if torch.is_grad_enabled() and not torch.compiler.is_dynamo_compiling():
            raise no_second_derivative()
        ctx.run.errors = errors
        if ctx.watch is not None:
            ctx.watch.hear(ctx)
        needed = ctx.needs_input_grad[4 + ctx.count :]
        found = ctx.gradients(ctx.saved_tensors, needed)
        return None, None, None, None, *[None] * ctx.count, *found
