"""`interp.generate`: what a model writes for prompts typed in a REPL, ablated or not, streamed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import (
    Ablation,
    Edits,
    HeadMeans,
    active_edits,
    checked_edits,
    head_means,
)
from interp.engine.generation.answers import (
    generate as generate_requests,
    path_of,
    say_what_is_left_out,
    sure_picking,
)
from interp.engine.generation.run import Run, Settings
from interp.engine.generation.stopping import Answer
from interp.errors import UserError
from interp.models import decoder, model_name
from interp.tasks import GenerationRequest, Messages, Sampling, chat_text, encode


class Options(TypedDict, total=False):
    """The options of `generate` that have a default.

    Attributes:
        max_new_tokens: the most tokens of an answer (256).
        until: strings at which an answer ends; none of them is part of it.
        chat: put each prompt through the model's chat template, as a user's message.
        temperature: above 0: draw the tokens instead of taking the likeliest.
        draws: answers a prompt; more than one needs a temperature.
        seed: of the draws (0).
        donor: the other model, for swaps.
        reference: texts over which `@mean` averages.
    """

    max_new_tokens: int
    until: Sequence[str]
    chat: bool
    temperature: float
    draws: int
    seed: int
    donor: TransformerBridge
    reference: Sequence[str]


def generate(
    model: TransformerBridge,
    prompt: str | Messages | Sequence[str],
    ablation: str | Ablation | Iterable[str | Ablation] | None = None,
    *,
    stream: bool = False,
    **options: Unpack[Options],
) -> Any:
    """What a model writes: greedily, exactly, with a KV cache, under an ablation or without.

    Inside `with interp.ablate(model, ...)` the context's ablation holds too. The bridge's own
    `model.generate` works there as TransformerLens documents it; this one runs the native blocks
    and is the one that sweeps use.

    Args:
        model: from `interp.load_model`.
        prompt: a text, messages (`[{"role": "user", "content": "..."}]`, which use the chat
            template), or several texts.
        ablation: a text such as `"layer:7"`, a value, or several.
        stream: return an iterator over pieces of the one answer, as they are written.
        **options: `max_new_tokens`, `until`, `chat`, `temperature`, `draws`, `seed`, `donor`,
            `reference`: see `Options`.

    Returns:
        The answer to one prompt; a list of answers to several prompts, or of several draws.

    Raises:
        UserError: an option that does not exist, a prompt that leaves no room in the context,
            a chat template that the model does not have, or as `interp.ablate`.
    """
    _check(model, options)
    edits, means = _edits(model, ablation, options)
    one = isinstance(prompt, str) or _is_messages(prompt)
    prompts: Sequence[Any] = [prompt] if one else prompt
    draws = options.get("draws", 1)
    asked = [_request(model, given, options, i) for i, given in enumerate(prompts)]
    requests = [replace(request, draw=draw) for request in asked for draw in range(draws)]
    if stream:
        if len(requests) != 1:
            raise UserError("stream: it shows one answer; give one prompt and one draw")
        return _stream(model, requests[0], edits, means)
    (answers,) = generate_requests(model, requests, [edits], means=means)
    for answer in answers:
        _refuse_failure(model, answer)
    texts = [answer.text for answer in answers]
    return texts[0] if one and draws == 1 else texts


def _check(model: TransformerBridge, options: Options) -> None:
    unknown = sorted(set(options) - set(Options.__annotations__))
    if unknown:
        allowed = ", ".join(Options.__annotations__)
        raise UserError(f"generate: no option {unknown[0]}; allowed are {allowed}")
    if decoder(model).tokenizer is None:
        raise UserError(f"model {model_name(model)}: it has no tokenizer")
    for name, least in (("max_new_tokens", 0), ("draws", 1), ("temperature", 0), ("seed", 0)):
        if options.get(name, least) < least:  # type: ignore[operator]
            raise UserError(f"{name} {options.get(name)}: allowed are {least} and more")
    if options.get("draws", 1) > 1 and not options.get("temperature"):
        raise UserError("draws: greedy answers are all the same; give a temperature above 0")


def _refuse_failure(model: TransformerBridge, answer: Answer) -> None:
    if answer.failure:
        raise UserError(
            f"model {model_name(model)}: {answer.failure} after {answer.n_tokens} new tokens; "
            "is its dtype wide enough, are its weights whole?"
        )


def _edits(
    model: TransformerBridge,
    ablation: str | Ablation | Iterable[str | Ablation] | None,
    options: Options,
) -> tuple[Edits, HeadMeans | None]:
    edits, means = active_edits(model)
    asked = checked_edits(model, ablation, donor=options.get("donor")) if ablation else Edits()
    if asked.uses_mean:
        if "reference" not in options or means is not None:
            raise UserError("@mean: a mean needs one reference set; give reference=[TEXTS]")
        means = head_means(model, options["reference"])
    for layer, edit in asked.items():
        if edit.hooks:
            raise UserError(
                "hooks of your own do not reach the native blocks; use interp.ablate and "
                "model.generate"
            )
        if edit.resample_heads:
            raise UserError(
                f"head:{layer}.{min(edit.resample_heads)}@resample: the example that a head's z is "
                "taken from is drawn by a sweep; in a REPL use interp.ablate and model.generate"
            )
    return edits | asked, means


def _is_messages(prompt: Any) -> bool:
    return not isinstance(prompt, str) and bool(prompt) and isinstance(prompt[0], dict)


def _request(
    model: TransformerBridge, prompt: Any, options: Options, number: int
) -> GenerationRequest:
    parts = decoder(model)
    if _is_messages(prompt):
        prompt = chat_text(model, prompt)
    elif options.get("chat"):
        prompt = chat_text(model, [{"role": "user", "content": prompt}])
    tokens = encode(prompt, parts)
    if not tokens:
        raise UserError(f"prompt {number}: it has no token, not even one for the start of a text")
    room = parts.max_length - len(tokens)
    longest = options.get("max_new_tokens", min(256, room))
    if room < 1 or longest > room:
        raise UserError(
            f"prompt {number}: {len(tokens)} tokens and {max(longest, 1)} new ones; the model's "
            f"context holds {parts.max_length}"
        )
    temperature = options.get("temperature", 0.0)
    sampling = Sampling(temperature, options.get("seed", 0)) if temperature else None
    until = tuple(options.get("until", ()))
    return GenerationRequest(number, tuple(tokens), until, longest, sampling=sampling)


def _stream(
    model: TransformerBridge,
    request: GenerationRequest,
    edits: Edits,
    means: HeadMeans | None,
) -> Iterator[str]:
    settings = Settings.for_model(decoder(model))
    if path_of(model, request, settings) != "ragged":
        # this architecture is decoded by the plain path, whole
        (answers,) = generate_requests(model, [request], [edits], means=means)
        _refuse_failure(model, answers[0])
        yield answers[0].text
        return
    say_what_is_left_out(model, [request])
    pick = sure_picking(model, [request])
    run = Run(model, [request], means, settings, pick, lambda _: None)
    shown = ""
    for rows in run.steps([edits]):
        for row in rows:
            safe = _safe(row.stop.answer(row.written), request.until)
            if safe.startswith(shown) and len(safe) > len(shown):
                yield safe[len(shown) :]
                shown = safe
    _refuse_failure(model, run.answers[0, 0])
    yield run.answers[0, 0].text[len(shown) :]


def _safe(answer: Answer, until: Sequence[str]) -> str:
    """The text that nothing written later can take back: no half character, no half stop string."""
    text = answer.text.rstrip("\ufffd")
    if answer.finished:
        return text
    held = max(
        (n for stop in until for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0
    )
    return text[: len(text) - held]
