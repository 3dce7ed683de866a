"""`interp.generate` and `interp.stream`: what a model writes for prompts typed in a REPL."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from numbers import Real
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import (
    Ablation,
    Edits,
    Means,
    active_edits,
    as_ablation,
    check_donor_used,
    checked_edits,
    mean_outputs,
)
from interp.engine.generation.answers import (
    generate as generate_requests,
    path_of,
    say_what_is_left_out,
    sure_picking,
)
from interp.engine.generation.run import Run, Settings
from interp.engine.generation.stopping import Answer
from interp.errors import UserError, check_seed, check_whole
from interp.models import model_name
from interp.tasks import GenerationRequest, Messages, Sampling, chat_text, encode

Prompt = str | Messages
"""A text, or messages, which use the model's chat template."""

HOTTEST = 1e9
"""The highest temperature: all tokens are as likely as each other long before."""

AnyAblation = str | Ablation | Iterable[str | Ablation]


def generate(
    model: TransformerBridge,
    prompt: Prompt | Sequence[str],
    ablation: AnyAblation | None = None,
    *,
    max_new_tokens: int | None = None,
    until: Sequence[str] = (),
    chat: bool = False,
    temperature: float = 0.0,
    draws: int = 1,
    seed: int = 0,
    donor: TransformerBridge | None = None,
    reference: Sequence[str] | None = None,
) -> str | list[str]:
    """What a model writes: greedily, exactly, with a KV cache, under an ablation or without.

    Inside `with interp.ablate(model, ...)` the context's ablation holds too. The bridge's own
    `model.generate` works there as TransformerLens documents it; this one runs the native blocks
    and is the one that sweeps use; hooks of your own (`interp.hooked`) run on the bridge's.
    `@resample` works in `model.generate` only.

    Args:
        model: from `interp.load_model`.
        prompt: a text, messages (`[{"role": "user", "content": "..."}]`, which use the chat
            template), or several texts.
        ablation: a text such as `"layer:7"`, a value, or several.
        max_new_tokens: the most tokens of an answer; by default 256, or what the context leaves.
        until: strings at which an answer ends; none of them is part of it. It also ends at the
            model's end tokens.
        chat: put each prompt through the model's chat template, as a user's message.
        temperature: above 0: draw the tokens instead of taking the likeliest.
        draws: answers to each prompt; more than one needs a temperature.
        seed: the seed of the draws.
        donor: the other model, for swaps.
        reference: texts over which `@mean` averages.

    Returns:
        The answer to one prompt; a list of answers to several prompts, or of several draws.

    Raises:
        UserError: a prompt that leaves no room in the context, a chat template that the model does
            not have, logits that are not finite, or as `interp.ablate`.
    """
    is_single = isinstance(prompt, str) or _is_messages(prompt)
    prompts = _prompts(prompt)
    _check(model, max_new_tokens, draws, temperature, seed)
    edits, means = _edits(model, ablation, donor, reference)
    sampling = Sampling(temperature, seed) if temperature else None
    prompts_asked = [
        _request(model, given, i, max_new_tokens, until, chat=chat, sampling=sampling)
        for i, given in enumerate(prompts)
    ]
    requests = [replace(request, draw=draw) for request in prompts_asked for draw in range(draws)]
    (answers,) = generate_requests(model, requests, [edits], means=means)
    for answer in answers:
        _refuse_failure(model, answer)
    texts = [answer.text for answer in answers]
    return texts[0] if is_single and draws == 1 else texts


def stream(
    model: TransformerBridge,
    prompt: Prompt | Sequence[str],
    ablation: AnyAblation | None = None,
    *,
    max_new_tokens: int | None = None,
    until: Sequence[str] = (),
    chat: bool = False,
    temperature: float = 0.0,
    seed: int = 0,
    donor: TransformerBridge | None = None,
    reference: Sequence[str] | None = None,
) -> Iterator[str]:
    """The pieces of one answer, as they are written; together they are what `generate` returns.

    Args:
        model: from `interp.load_model`.
        prompt: one text, or messages.
        ablation: as for `generate`.
        max_new_tokens: as for `generate`.
        until: as for `generate`.
        chat: as for `generate`.
        temperature: as for `generate`.
        seed: the seed of the draw.
        donor: the other model, for swaps.
        reference: texts over which `@mean` averages.

    Returns:
        An iterator over pieces of text.

    Raises:
        UserError: at once for what cannot be asked (see `generate`); while reading where logits
            are not finite.
    """
    if not isinstance(prompt, str) and not _is_messages(prompt):
        raise UserError("stream: it shows one answer; give one prompt")
    _check(model, max_new_tokens, 1, temperature, seed)
    edits, means = _edits(model, ablation, donor, reference)
    sampling = Sampling(temperature, seed) if temperature else None
    request = _request(model, prompt, 0, max_new_tokens, until, chat=chat, sampling=sampling)
    return _stream(model, request, edits, means)


def _check(
    model: TransformerBridge, max_new_tokens: int | None, draws: int, temperature: float, seed: int
) -> None:
    if models.decoder(model).tokenizer is None:
        raise UserError(f"model {model_name(model)}: it has no tokenizer")
    check_seed(seed)
    for name, value, least in (
        ("max_new_tokens", 0 if max_new_tokens is None else max_new_tokens, 0),
        ("draws", draws, 1),
        ("temperature", temperature, 0),
    ):
        if name != "temperature":
            check_whole(name, value, least)
        elif isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= HOTTEST:
            raise UserError(f"{name} {value!r:.80}: allowed are 0 and more, up to {HOTTEST:g}")
    if draws > 1 and not temperature:
        raise UserError("draws: greedy answers are all the same; give a temperature above 0")


def _refuse_failure(model: TransformerBridge, answer: Answer) -> None:
    if answer.failure:
        raise UserError(
            f"model {model_name(model)}: {answer.failure} after {answer.n_tokens} new tokens; "
            "is its dtype wide enough, are its weights whole?"
        )


def _edits(
    model: TransformerBridge,
    ablation: AnyAblation | None,
    donor: TransformerBridge | None,
    reference: Sequence[str] | None,
) -> tuple[Edits, Means | None]:
    edits, means = active_edits(model)
    check_donor_used([as_ablation(ablation)] if ablation else [], donor)
    checked = checked_edits(model, ablation, donor=donor) if ablation else Edits()
    if checked.uses_mean:
        if reference is None or means is not None:
            raise UserError(
                f"{checked.named('mean')}: it needs one reference set; give reference=[TEXTS]"
            )
        means = mean_outputs(model, reference, linear=checked.linear_layers)
    if checked.is_hooked and edits:
        raise UserError(
            "hooks of your own are not combined with the ablation of a context; give both to "
            "interp.generate"
        )
    if checked.position_classes:
        raise UserError(
            "cuts and patches need classes of positions, which a prompt alone lacks; use a sweep"
        )
    if checked.is_windowed:
        raise UserError(
            "@window: it is run on the examples of a sweep; in a REPL use interp.ablate and "
            "model.generate"
        )
    if checked.is_resampled:
        raise UserError(
            f"{checked.named('resample')}: the example that it is taken from is drawn by a sweep; "
            "in a REPL use interp.ablate and model.generate"
        )
    return edits | checked, means


def _is_messages(prompt: Any) -> bool:
    several = isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes)
    return several and bool(prompt) and all(isinstance(part, dict) for part in prompt)


def _prompts(prompt: Any) -> list[Any]:
    """What is asked, one by one."""
    if isinstance(prompt, str) or _is_messages(prompt):
        return [prompt]
    several = isinstance(prompt, Sequence) and not isinstance(prompt, bytes)
    if not several or not all(isinstance(text, str) or _is_messages(text) for text in prompt):
        raise UserError(
            f"prompt {prompt!r:.80}: allowed are a text, messages of a chat, or several of these"
        )
    return list(prompt)


def _request(
    model: TransformerBridge,
    prompt: Any,
    number: int,
    max_new_tokens: int | None,
    until: Sequence[str],
    *,
    chat: bool,
    sampling: Sampling | None,
) -> GenerationRequest:
    decoder = models.decoder(model)
    if _is_messages(prompt):
        prompt = chat_text(model, prompt)
    elif chat:
        prompt = chat_text(model, [{"role": "user", "content": prompt}])
    tokens = encode(prompt, decoder)
    if not tokens:
        raise UserError(f"prompt {number}: it has no token, not even one for the start of a text")
    room = decoder.max_length - len(tokens)
    longest = min(256, room) if max_new_tokens is None else max_new_tokens
    if room < 1 or longest > room:
        raise UserError(
            f"prompt {number}: {len(tokens)} tokens and {max(longest, 1)} new ones; the model's "
            f"context holds {decoder.max_length}"
        )
    stops = (until,) if isinstance(until, str) else until
    if not isinstance(stops, list | tuple) or not all(isinstance(s, str) and s for s in stops):
        raise UserError(f"until {until!r:.80}: allowed is a list of texts, none of them empty")
    return GenerationRequest(number, tuple(tokens), tuple(stops), longest, sampling=sampling)


def _stream(
    model: TransformerBridge,
    request: GenerationRequest,
    edits: Edits,
    means: Means | None,
) -> Iterator[str]:
    settings = Settings.for_model(models.decoder(model))
    apart = edits.order or edits.is_scoped or edits.is_hooked
    if apart or path_of(model, request, settings) != "ragged":
        # this architecture is decoded by the plain path, whole
        (answers,) = generate_requests(model, [request], [edits], means=means)
        _refuse_failure(model, answers[0])
        yield answers[0].text
        return
    say_what_is_left_out(model, [request])
    pick = sure_picking(model, [request])
    run = Run(model, [request], [edits], means=means, settings=settings, pick=pick)
    shown = ""
    for rows in run.steps():
        for row in rows:
            safe = _safe(row.stop.answer(row.written), request.until)
            if safe.startswith(shown) and len(safe) > len(shown):
                yield safe[len(shown) :]
                shown = safe
    answer = run.answers[0][0]
    _refuse_failure(model, answer)
    yield answer.text[len(shown) :]


def _safe(answer: Answer, until: Sequence[str]) -> str:
    """The text that nothing written later can take back: no half character, no half stop string."""
    text = answer.text.rstrip("\ufffd")
    if answer.finished:
        return text
    n_held_back = max(
        (n for stop in until for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0
    )
    return text[: len(text) - n_held_back]
