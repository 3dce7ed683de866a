"""The other side of the comparison: plain transformers with edited weights and deleted layers.

One row at a time, without a cache, without a batch, without padding. A deleted layer hands on what
it is given; what `interp prune` writes shows that this equals a checkpoint without it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp.models import Decoder


class Plain:
    """A model of transformers, and where in it the parts are that a decoder names.

    Args:
        model: a model in evaluation mode, with the same weights.
        decoder: the toolkit's decoder of the model; only the paths of its modules are taken from
            it.
    """

    def __init__(self, model: Any, decoder: Decoder) -> None:
        self.model, self.decoder = model, decoder
        rotary = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
        # a longer text is not only continued: its first tokens are computed otherwise
        self.by_length = rotary.get("rope_type") in ("longrope", "dynamic")
        self.length = 0
        """Tokens of the row that is run."""
        self._paths = {id(module): path for path, module in decoder.root.named_modules()}

    def path(self, theirs: nn.Module) -> str:
        """Where a module of the decoder lies."""
        return self._paths[id(theirs)]

    def module(self, theirs: nn.Module) -> Any:
        """The plain model's own module of the same path."""
        return self.model.get_submodule(self.path(theirs))

    def logits(self, tokens: Sequence[int]) -> Float[Tensor, "pos d_vocab"]:
        """Logits of one row, in one call."""
        self.length = len(tokens)
        with torch.no_grad():
            return self.model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0]

    def greedy_after(self, prompt: Sequence[int], answer: Sequence[int]) -> list[int]:
        """The likeliest token at each place of an answer, given what stands before it."""
        if self.by_length:
            texts = ([*prompt, *answer[:end]] for end in range(len(answer)))
            return [int(self.logits(text)[-1].argmax()) for text in texts]
        logits = self.logits([*prompt, *answer])[len(prompt) - 1 : -1]
        return [int(token) for token in logits.argmax(-1)]

    def option_scores(
        self, context: Sequence[int], options: Sequence[Sequence[int]]
    ) -> list[float]:
        """Log-probability of each option; all but the last are what the last one starts with."""
        longest = options[-1]
        scores = []
        for option in options:
            run = option if self.by_length else longest
            logprobs = self.logits([*context, *run[:-1]]).log_softmax(-1)[len(context) - 1 :]
            scores.append(float(logprobs[range(len(option)), list(option)].sum()))
        return scores

    @contextmanager
    def edited(self, ablation: str) -> Iterator[None]:
        """Inside the context, the model computes without a part.

        Args:
            ablation: `layer:2`, `attn:2`, `mlp:2`, `head:2.1@zero`, `expert:2.1@unnormalised`, or
                several joined by `+`.

        Yields:
            None; the model is as it was afterwards.
        """
        with ExitStack() as stack:
            for part in filter(None, ablation.removeprefix("baseline").split("+")):
                kind, _, place = part.partition("@")[0].partition(":")
                layer, _, head = place.partition(".")
                stack.enter_context(self._without(kind, int(layer), int(head or 0)))
            yield

    def _without(self, kind: str, layer: int, head: int) -> Any:
        decoder = self.decoder
        if kind == "layer":
            return _handing_on(self.module(decoder.blocks[layer]), decoder.block_returns[layer])
        if kind == "attn":
            ends = (decoder.attention_ends[layer], *decoder.further_mixers[layer])
            return _each_adding_nothing(map(self.module, ends), decoder.attention_adds_residual)
        if kind == "mlp":
            ends = (decoder.mlp_ends[layer], *decoder.further_mlps[layer])
            return _each_adding_nothing(map(self.module, ends), decoder.mlp_adds_residual)
        if kind == "expert":
            mlps = (decoder.mlps[layer], *decoder.further_mlps[layer])
            return _zeroed_expert(list(map(self.module, mlps)), head)
        projection = self.module(decoder.output_projections[layer])
        return _zeroed_columns(projection, head, decoder.n_heads)


@contextmanager
def _handing_on(block: Any, entries: int) -> Iterator[None]:
    def forward(*args: Any, **kwargs: Any) -> Any:
        resid = args[0] if args else kwargs["hidden_states"]
        return (resid, *[None] * (entries - 1)) if entries else resid

    with _patched(block, forward):
        yield


@contextmanager
def _patched(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


@contextmanager
def _each_adding_nothing(modules: Iterable[nn.Module], adds_residual: bool) -> Iterator[None]:
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(_adding_nothing(module, adds_residual))
        yield


@contextmanager
def _adding_nothing(module: nn.Module, adds_residual: bool) -> Iterator[None]:
    def hook(_module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
        value = out[0] if isinstance(out, tuple) else out
        nothing = torch.zeros_like(value)
        if adds_residual:
            nothing = kwargs.get("residual", args[1] if len(args) > 1 else None)
        return (nothing, *out[1:]) if isinstance(out, tuple) else nothing

    handle = module.register_forward_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _zeroed_columns(projection: Any, head: int, n_heads: int) -> Iterator[None]:
    weight = projection.weight.data
    # transformers' Conv1D keeps [in, out]
    inputs = 0 if type(projection).__name__ == "Conv1D" else 1
    before, width = weight.clone(), weight.shape[inputs] // n_heads
    weight.narrow(inputs, head * width, width).zero_()
    try:
        yield
    finally:
        weight.copy_(before)


@contextmanager
def _zeroed_expert(mlps: Sequence[nn.Module], expert: int) -> Iterator[None]:
    """All weights of one expert are zero, so that it adds nothing; the router stays as it is."""
    own = [
        parameter.data if f".{expert}." in name else parameter.data[expert]
        for mlp in mlps
        for name, parameter in mlp.named_parameters()
        if re.search(rf"(?:^|\.)experts\.({expert}\.|\D)", name)
    ]
    before = [weight.clone() for weight in own]
    for weight in own:
        weight.zero_()
    try:
        yield
    finally:
        for weight, value in zip(own, before, strict=True):
            weight.copy_(value)
