"""Tasks become tokenised requests, and requests become the rows that a model runs on.

Contexts and continuations are split as lm-evaluation-harness splits them: trailing spaces of a
context belong to the continuation, both are encoded together, and BOS is added once, by the
tokenizer. Requests whose rows are equal are run once: the letters A to D of a question differ in
one token that is never fed to the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from interp.errors import UserError
from interp.models import Decoder
from interp.tasks.rolling import windows
from interp.tasks.sampled import Sampling, asked_sampling
from interp.tasks.task import Task

DEFAULT_MAX_GEN_TOKS = 256
BEYOND_GREEDY: dict[str, Any] = {
    "num_beams": 1,
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "min_length": 0,
    "min_new_tokens": 0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "sequence_bias": None,
}
"""Options of generation that change any text, and the values at which they do nothing."""


@dataclass(frozen=True)
class OptionRequest:
    """The log-likelihood of one continuation after one context.

    Attributes:
        doc_id: row of the task.
        option: which of the row's options.
        context: tokens in front.
        continuation: tokens that are scored.
        truncated_tokens: dropped on the left because the context length was exceeded.
    """

    doc_id: int
    option: int
    context: tuple[int, ...]
    continuation: tuple[int, ...]
    truncated_tokens: int = 0

    @property
    def row_length(self) -> int:
        """Tokens that the model runs on; the last of the continuation is predicted only."""
        return len(self.context) + len(self.continuation) - 1


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to be continued.

    Attributes:
        doc_id: row of the task.
        prompt: tokens.
        until: strings at which the answer ends; the strings are not part of it.
        max_gen_toks: the answer's largest number of tokens.
        truncated_tokens: dropped on the left because the context length was exceeded.
        sampling: how its tokens are drawn; None for the likeliest ones.
        draw: which of several answers to the same prompt.
    """

    doc_id: int
    prompt: tuple[int, ...]
    until: tuple[str, ...]
    max_gen_toks: int
    truncated_tokens: int = 0
    sampling: Sampling | None = None
    draw: int = 0


@dataclass(frozen=True)
class Row:
    """One sequence that the model runs on.

    Attributes:
        tokens: fed to the model.
        scored: for each request that this row answers, its number, the position whose logits
            predict its first scored token, and its scored tokens.
    """

    tokens: tuple[int, ...]
    scored: tuple[tuple[int, int, tuple[int, ...]], ...]


Request = OptionRequest | GenerationRequest


def build_requests(
    task: Task, doc_ids: Sequence[int], decoder: Decoder, *, seed: int = 0
) -> list[OptionRequest] | list[GenerationRequest]:
    """The requests of some rows of a task, in their order.

    Code that computes calls `checked_requests`, which is built on this function.

    Args:
        task: the task.
        doc_ids: its rows.
        decoder: the decoder of the model, whose tokenizer and context length count.
        seed: the seed of the samples, where answers are sampled.

    Returns:
        One request for each option of a row, or for each sample of its answer.

    Raises:
        UserError: the task asks for something other than options, greedy text or samples.
    """
    if task.is_text:
        return [r for i in doc_ids for r in _windows(task, i, decoder)]
    if task.generates:
        return [r for i in doc_ids for r in _generations(task, i, decoder, seed)]
    return [r for i in doc_ids for r in _options(task, i, decoder)]


def build_rows(requests: Sequence[OptionRequest]) -> list[Row]:
    """The distinct rows that answer the requests.

    Args:
        requests: options of any examples.

    Returns:
        Rows, the longest first; numbers in `Row.scored` are places in `requests`.
    """
    scored: dict[tuple[int, ...], list[tuple[int, int, tuple[int, ...]]]] = {}
    for number, request in enumerate(requests):
        tokens = (*request.context, *request.continuation[:-1])
        start = len(request.context) - 1
        scored.setdefault(tokens, []).append((number, start, request.continuation))
    rows = [Row(tokens, tuple(answers)) for tokens, answers in scored.items()]
    return sorted(rows, key=lambda row: (-len(row.tokens), row.tokens))


def prompt_text(task: Task, document: dict[str, Any]) -> str:
    """The prompt of a row, few-shot examples included, as lm-evaluation-harness writes it.

    Args:
        task: the task.
        document: one of its rows.

    Returns:
        The text, with the first option where options are part of the prompt (winogrande).
    """
    if task.is_text:
        return str(task._harness.doc_to_target(document))
    context = _context(task, document)
    return context if isinstance(context, str) else context[0]


def encode(text: str, decoder: Decoder) -> list[int]:
    """Token ids of a text, as lm-evaluation-harness makes them.

    The tokenizer adds the beginning-of-sequence token, which is never added twice.

    Args:
        text: any text.
        decoder: the decoder of the model, whose tokenizer counts.

    Returns:
        Token ids, the beginning-of-sequence token in front where the tokenizer adds one.

    Raises:
        UserError: a token that the model's embedding does not have.
    """
    tokenizer = decoder.tokenizer
    bos = tokenizer.bos_token or tokenizer.eos_token
    begun = bool(bos) and text.startswith(bos)
    tokens = list(
        tokenizer.encode(text, add_special_tokens=False) if begun else tokenizer.encode(text)
    )
    decoder.check_tokens(tokens)
    return tokens


def encode_pair(
    context: str,
    continuation: str,
    decoder: Decoder,
    *,
    known: dict[str, list[int]] | None = None,
) -> tuple[list[int], list[int]]:
    """Token ids of a context and of the continuation after it.

    Split as `TemplateLM._encode_pair` of lm-evaluation-harness splits them: trailing spaces of the
    context belong to the continuation, and both are encoded together.

    Args:
        context: the prompt; where it is empty, the beginning-of-sequence token stands for it.
        continuation: what is scored after it.
        decoder: the decoder of the model, whose tokenizer counts.
        known: contexts that are encoded already; this one is added. The options of a question
            share theirs.

    Returns:
        Token ids of both. Joined, they are what the model reads.
    """
    if context == "":
        start = _start(decoder)
        tokens = list(decoder.tokenizer.encode(continuation, add_special_tokens=False))
        decoder.check_tokens(tokens)
        return (tokens[:1], tokens[1:]) if tokens[0] == start else ([start], tokens)
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    known = {} if known is None else known
    if context not in known:
        known[context] = encode(context, decoder)
    before, whole = known[context], encode(context + continuation, decoder)
    return before, whole[len(before) :]


def _start(decoder: Decoder) -> int:
    """The token that stands for an empty context."""
    start = decoder.tokenizer.bos_token_id
    return int(decoder.tokenizer.eos_token_id if start is None else start)


def option_request(
    doc_id: int, option: int, context: Sequence[int], continuation: Sequence[int], decoder: Decoder
) -> OptionRequest:
    """A request whose context is cut on the left where it is longer than the model's.

    Args:
        doc_id: row of the task.
        option: which of the row's options.
        context: tokens before the option.
        continuation: tokens of the option.
        decoder: the decoder of the model, whose context length counts.

    Returns:
        The request. It says how many tokens were cut.
    """
    cut = max(0, len(context) + len(continuation) - decoder.max_length - 1)
    return OptionRequest(doc_id, option, tuple(context[cut:]), tuple(continuation), cut)


def generation_request(
    doc_id: int,
    text: str,
    arguments: dict[str, Any],
    decoder: Decoder,
    *,
    task: str,
    seed: int = 0,
) -> GenerationRequest:
    """A prompt and how it is to be continued.

    Args:
        doc_id: row of the task.
        text: the prompt.
        arguments: lm-evaluation-harness' `generation_kwargs`.
        decoder: the decoder of the model, whose tokenizer and context length count.
        task: its name, for messages.
        seed: the seed of the samples, where answers are sampled.

    Returns:
        The request. It says where the answer ends, and how many tokens of the prompt were cut.

    Raises:
        UserError: the arguments ask for something other than greedy text or samples, or leave no
            room for a prompt; the prompt has no token.
    """
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs

    arguments = dict(normalize_gen_kwargs(arguments, DEFAULT_MAX_GEN_TOKS))
    for name, neutral in BEYOND_GREEDY.items():
        if arguments.get(name, neutral) not in (neutral, None):
            raise UserError(
                f"task {task}: {name} {arguments[name]}; allowed is plain generation, greedy or "
                "sampled"
            )
    sampling = asked_sampling(arguments, task, seed) if arguments.get("do_sample") else None
    eos = decoder.tokenizer.decode([decoder.tokenizer.eos_token_id])
    until = [s for s in handle_stop_sequences(arguments.get("until"), eos) if s]
    longest = arguments["max_gen_toks"]
    room = decoder.max_length - longest
    if room <= 0:
        raise UserError(
            f"task {task}: max_gen_toks {longest}; the model's context holds "
            f"{decoder.max_length} tokens, prompt included"
        )
    tokens = encode(text, decoder)
    if not tokens:
        raise UserError(
            f"task {task}, row {doc_id}: its prompt is empty, and has no token to go on"
        )
    cut = max(0, len(tokens) - room)
    return GenerationRequest(doc_id, tuple(tokens[cut:]), tuple(until), longest, cut, sampling)


def _context(task: Task, document: dict[str, Any]) -> str | list[str]:
    harness = task._harness
    context: str | list[str] = harness.fewshot_context(
        document, num_fewshot=task.num_fewshot, gen_prefix=harness.doc_to_prefix(document)
    )
    return context


def harness_requests(task: Task, doc_id: int) -> list[Any]:
    """The requests of a row as lm-evaluation-harness' own objects, for its own models.

    Args:
        task: the task.
        doc_id: number of the row.

    Returns:
        One `Instance` per option, or one for the prompt of a generated answer.
    """
    harness, document = task._harness, task.documents()[doc_id]
    context = _context(task, document)
    made = harness.construct_requests(
        doc=document, ctx=context, metadata=(task.name, doc_id, harness.config.repeats)
    )
    return made if isinstance(made, list) else [made]


def _windows(task: Task, doc_id: int, decoder: Decoder) -> list[OptionRequest]:
    tokens = encode(prompt_text(task, task.documents()[doc_id]), decoder)
    pairs = enumerate(windows(tokens, _start(decoder), decoder.max_length))
    return [OptionRequest(doc_id, n, tuple(before), tuple(after)) for n, (before, after) in pairs]


def _options(task: Task, doc_id: int, decoder: Decoder) -> list[OptionRequest]:
    requests, known = [], dict[str, list[int]]()
    for option, instance in enumerate(harness_requests(task, doc_id)):
        if instance.request_type != "loglikelihood":
            raise UserError(
                f"task {task.name}: requests of type {instance.request_type} are not supported; "
                "allowed are loglikelihood(_rolling), multiple_choice and generate_until"
            )
        before, after = instance.args
        context, continuation = encode_pair(before, after, decoder, known=known)
        if not continuation:
            raise UserError(
                f"task {task.name}, row {doc_id}, option {option}: {instance.args[1]!r} adds no "
                "token to its context"
            )
        if len(continuation) > decoder.max_length:
            raise UserError(
                f"task {task.name}, row {doc_id}, option {option}: {len(continuation)} tokens; "
                f"the model's context holds {decoder.max_length}"
            )
        requests.append(option_request(doc_id, option, context, continuation, decoder))
    return requests


def _generations(task: Task, doc_id: int, decoder: Decoder, seed: int) -> list[GenerationRequest]:
    (instance,) = harness_requests(task, doc_id)
    text, arguments = instance.args
    request = generation_request(doc_id, text, arguments, decoder, task=task.name, seed=seed)
    draws = 1 if request.sampling is None else int(instance.repeats or 1)
    return [replace(request, draw=draw) for draw in range(draws)]
