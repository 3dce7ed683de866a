"""What a lens reads of an example: its options, or a written-out text step by step."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Edits
from interp.engine import generate
from interp.errors import UserError
from interp.models import Decoder
from interp.tasks import (
    GenerationRequest,
    OptionRequest,
    Task,
    build_requests,
    encode,
    encode_pair,
    option_request,
    prompt_text,
)

WHOLE = "answer"
"""The name of the step that is the whole answer, in the column `step`."""
MOST_STEPS = 12
FOLLOW = ("target", "generated")


@dataclass(frozen=True)
class Answer:
    """One example's answers.

    Attributes:
        doc_id: the number of the row of the task.
        options: what is scored: one request per option, or one for the text that is followed.
        right: which of the options is right.
        steps: names of the pieces of the right answer that are read separately, each with the
            positions of its tokens in the continuation. The first is always the whole answer.
        among_options: whether the right answer's rivals are the other options; if not, they are all
            other tokens of the vocabulary, at each token.
    """

    doc_id: int
    options: tuple[OptionRequest, ...]
    right: int
    steps: tuple[tuple[str, tuple[int, ...]], ...]
    among_options: bool


def build_answers(
    model: TransformerBridge,
    task: Task,
    doc_ids: Sequence[int],
    *,
    follow: str = "target",
    steps: str | None = None,
) -> list[Answer]:
    """The answers of some rows of a task.

    Args:
        model: the model, whose tokenizer splits them.
        task: the task. Its options are scored, or its target text is followed token by token.
        doc_ids: numbers of rows of the task.
        follow: what is followed in tasks that generate: `target` (the task's written-out answer) or
            `generated` (what the unablated model writes; that text then takes the right answer's
            place).
        steps: a regular expression of the pieces of a written-out answer that are read separately.
            If it has a group, the piece is the first group of a match.

    Returns:
        One answer per row. A row without a text to follow is left out.

    Raises:
        UserError: `follow` is unknown, the expression is malformed, or an answer has no tokens.
    """
    check_reading(follow, steps)
    decoder = models.decoder(model)
    requests = build_requests(task, doc_ids, decoder)
    if any(isinstance(r, GenerationRequest) and r.sampling for r in requests):
        raise UserError(
            f"task {task.name}: it samples; a lens reads options, targets and greedy texts"
        )
    if not task.generates:
        return _option_answers(task, doc_ids, requests)  # type: ignore[arg-type]
    texts = _texts(model, task, doc_ids, requests, follow)  # type: ignore[arg-type]
    return [
        _followed(task, request, texts[request.doc_id], decoder, steps)  # type: ignore[arg-type]
        for request in requests
        if texts[request.doc_id]
    ]


def check_reading(follow: str, steps: str | None) -> None:
    """Raise UserError for a `follow` or an expression that `build_answers` would refuse.

    Args:
        follow: `target` or `generated`.
        steps: a regular expression; None where no pieces of the answer are read separately.
    """
    if follow not in FOLLOW:
        raise UserError(f"follow {follow!r}: allowed are {', '.join(FOLLOW)}")
    if steps is not None:
        if not isinstance(steps, str):
            raise UserError(f"steps {steps!r:.80}: allowed is a regular expression as text")
        try:
            re.compile(steps)
        except re.error as error:
            raise UserError(f"steps {steps!r}: no regular expression ({error})") from None


def _option_answers(
    task: Task, doc_ids: Sequence[int], requests: Sequence[OptionRequest]
) -> list[Answer]:
    documents = task.documents()
    options: dict[int, list[OptionRequest]] = {doc_id: [] for doc_id in doc_ids}
    for request in requests:
        options[request.doc_id].append(request)
    answers = []
    for doc_id in doc_ids:
        of_document = options[doc_id]
        right = _right_option(task, documents[doc_id], len(of_document))
        tokens = tuple(range(len(of_document[right].continuation)))
        answers.append(
            Answer(doc_id, tuple(of_document), right, ((WHOLE, tokens),), len(of_document) > 1)
        )
    return answers


def _right_option(task: Task, document: dict[str, Any], n_options: int) -> int:
    """The number of the right option, or of the first if several are right."""
    if n_options == 1:
        return 0
    gold = task.gold_options(document)
    if not gold:
        raise UserError(f"task {task.name}: a row's right answer is none of its options")
    return gold[0]


def _texts(
    model: TransformerBridge,
    task: Task,
    doc_ids: Sequence[int],
    requests: Sequence[GenerationRequest],
    follow: str,
) -> dict[int, str]:
    """The text that is followed, by row, with the space between it and its prompt."""
    if follow == "target":
        documents = task.documents()
        delimiter = task.target_delimiter
        return {i: _delimited(delimiter, task.target_text(documents[i])) for i in doc_ids}
    (written,) = generate(model, requests, [Edits()])
    return {r.doc_id: a.text for r, a in zip(requests, written, strict=True)}


def _delimited(delimiter: str, text: str) -> str:
    return text if text[:1].isspace() else delimiter + text


def _followed(
    task: Task, request: GenerationRequest, text: str, decoder: Decoder, steps: str | None
) -> Answer:
    prompt = prompt_text(task, task.documents()[request.doc_id])
    before = encode(prompt, decoder)
    if encode(prompt + text, decoder)[: len(before)] != before:
        # some tokenizers drop the space that a generated text begins with
        text = _delimited(task.target_delimiter, text)
    context, continuation = encode_pair(prompt, text, decoder)
    if not continuation:
        raise UserError(f"task {task.name}, row {request.doc_id}: {text!r} adds no token")
    option = option_request(request.doc_id, 0, context, continuation, decoder)
    if not option.context:
        raise UserError(
            f"task {task.name}, row {request.doc_id}: {len(continuation)} tokens; the model's "
            f"context holds {decoder.max_length}"
        )
    named = [(WHOLE, tuple(range(len(continuation))))]
    if steps is not None:
        named += _steps(steps, context, continuation, decoder)
    return Answer(request.doc_id, (option,), 0, tuple(named), among_options=False)


def _steps(
    pattern: str, context: Sequence[int], continuation: Sequence[int], decoder: Decoder
) -> list[tuple[str, tuple[int, ...]]]:
    """The pieces of a text that match a pattern, as token positions."""
    decode = decoder.tokenizer.decode
    # after a token of the context, because some tokenizers drop a text's first space
    start = len(decode(list(context[-1:])))
    texts = [decode([*context[-1:], *continuation[:n]]) for n in range(len(continuation) + 1)]
    ends = [len(text) - start for text in texts]
    steps: list[tuple[str, tuple[int, ...]]] = []
    for match in re.finditer(pattern, texts[-1][start:]):
        first, last = match.span(1 if match.re.groups else 0)
        tokens = tuple(
            i for i in range(len(continuation)) if ends[i] < last and ends[i + 1] > first
        )
        if tokens and len(steps) < MOST_STEPS:
            steps.append((f"step {len(steps) + 1}", tokens))
    return steps
