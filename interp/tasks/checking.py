"""All requests of a run's rows, built and checked once, before anything is computed.

A row that cannot be asked, or whose right answer cannot be matched, is named here with its task,
its place in its file and the field; nothing is asked before every row has passed.
"""

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from interp.errors import UserError
from interp.models import Decoder
from interp.tasks.aggregation import scores_itself
from interp.tasks.groups import Group
from interp.tasks.requests import (
    GenerationRequest,
    OptionRequest,
    Sampling,
    build_requests,
)
from interp.tasks.task import Task
from interp.tasks.templates import bounded

Requests = list[OptionRequest] | list[GenerationRequest]


@dataclass(frozen=True, eq=False)
class CheckedRequests:
    """The requests of some rows of a task, each of which can be asked and scored.

    Attributes:
        by_row: the requests of each row: one per option, or one per sample of an answer.
    """

    by_row: Mapping[int, tuple[OptionRequest, ...] | tuple[GenerationRequest, ...]]
    _hashed: dict[int, bytes] = field(default_factory=dict, repr=False)

    def of(self, doc_ids: Iterable[int]) -> Requests:
        """The requests of some of the rows, in the order of `build_requests`."""
        return [request for i in doc_ids for request in self.by_row[i]]  # type: ignore[return-value]

    def only(self, doc_ids: Iterable[int]) -> "CheckedRequests":
        """The requests of some of the rows, in their order."""
        return CheckedRequests({i: self.by_row[i] for i in doc_ids}, self._hashed)

    @property
    def sampling(self) -> Sampling | None:
        """How answers are sampled; None where options are scored or answers are greedy."""
        first = next(iter(self.by_row.values()))[0]
        return first.sampling if isinstance(first, GenerationRequest) else None

    @property
    def n_samples(self) -> int:
        """Answers to each row; 1 unless they are sampled."""
        return 1 if self.sampling is None else len(next(iter(self.by_row.values())))

    @property
    def truncated_rows(self) -> tuple[int, ...]:
        """Rows whose prompt does not fit into the model's context and lost tokens on its left."""
        return tuple(
            i
            for i, row_requests in self.by_row.items()
            if any(r.truncated_tokens for r in row_requests)
        )

    @property
    def sha256(self) -> str:
        """Hash of all that is asked: tokens, stop strings, lengths and how answers are sampled.

        The order of the rows makes no difference.
        """
        digest = hashlib.sha256()
        for doc_id, requests in sorted(self.by_row.items()):
            if doc_id not in self._hashed:
                text = json.dumps([doc_id, [_asked(request) for request in requests]])
                self._hashed[doc_id] = hashlib.sha256(text.encode()).digest()
            digest.update(self._hashed[doc_id])
        return digest.hexdigest()


def checked_requests(
    task: Task, doc_ids: Sequence[int], decoder: Decoder, *, seed: int = 0
) -> CheckedRequests:
    """The requests of rows of a task, every one read, rendered, tokenised and scored once.

    Args:
        task: the task.
        doc_ids: its rows.
        decoder: the decoder of the model, whose tokenizer and context length count.
        seed: the seed of the samples, where answers are sampled.

    Returns:
        Row number to the requests of the row: one per option, or one per drawn answer.

    Raises:
        UserError: a row cannot be asked or scored, or its right answer is none of its options;
            the message names the task, the row, its place in its file, and the field.
    """
    return CheckedRequests({i: _checked_row(task, i, decoder, seed) for i in doc_ids})


def _checked_row(task: Task, doc_id: int, decoder: Decoder, seed: int) -> Any:
    document = task.documents()[doc_id]
    try:
        with bounded():
            problem = _wrong_answer(task, document)
            if problem:
                raise UserError(f"{_place(task, doc_id)}, {problem}")
            requests = build_requests(task, [doc_id], decoder, seed=seed)
            _score(task, document, requests)
    except UserError:
        raise
    except Exception as error:  # templates and functions of a task raise anything
        nulls = [name for name, value in document.items() if value is None]
        hint = f"; null are {', '.join(nulls)}" if nulls else ""
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{_place(task, doc_id)}: it cannot be asked and scored ({reason}{hint})"
        ) from error
    return tuple(requests)


def metric_names(task: Task, decoder: Decoder) -> list[str]:
    """The names of the metrics that each example of a task gets, found without the model.

    Args:
        task: the task; its first row is scored with a made-up response.
        decoder: the decoder of the model, whose tokenizer counts.

    Returns:
        Names as the records of a sweep have them; none where the task has no rows.

    Raises:
        UserError: the row cannot be asked or scored.
    """
    if not len(task.documents()):
        return []
    requests = checked_requests(task, [0], decoder).of([0])
    return sorted(_score(task, task.documents()[0], requests))


def _score(task: Task, document: dict[str, Any], requests: Sequence[Any]) -> dict[str, float]:
    """Score made-up responses: what cannot be scored is found before it is asked."""
    task.target_text(document)
    if task.generates:
        sampled = None if requests[0].sampling is None else [""] * len(requests)
        return task.score_texts(document, task.given_answers("", sampled))
    if not requests:
        raise ValueError("it has no options")
    count = len(requests)
    return task.score_options(document, [(-1.0, False)] * count, token_counts=[1] * count)


def _wrong_answer(task: Task, document: dict[str, Any]) -> str | None:
    """Why a row's right answer can never be matched; None where it can."""
    harness = task._harness
    if isinstance(harness, Group):
        harness = harness.of(document)
    if scores_itself(harness):
        return None  # what is right is up to the task's own function
    kind, field = harness.OUTPUT_TYPE, _answer_field(task, document)
    if kind == "multiple_choice":
        options = harness.doc_to_choice(document)
        gold = harness.doc_to_text(document) if harness.multiple_input else None
        gold = harness.doc_to_target(document) if gold is None else gold
        problem = _unmatched(gold, options, several=bool(harness.multiple_target))
        return None if problem is None else f"{field}: {problem}"
    if kind != "generate_until":
        return None
    target = harness.doc_to_target(document)
    if harness.config.doc_to_choice is not None:
        problem = _unmatched(target, harness.doc_to_choice(document), several=False)
    else:
        answers = target if isinstance(target, list) else [target]
        empty = not answers or any(a is None or not str(a).strip() for a in answers)
        problem = f"{target!r} is no answer" if empty else None
    return None if problem is None else f"{field}: {problem}"


def _unmatched(gold: Any, options: Any, *, several: bool) -> str | None:
    if not isinstance(options, list) or not options:
        return f"its options are {_shown(options)}; allowed is a list of texts"
    odd = next((option for option in options if not isinstance(option, str)), None)
    if odd is not None or None in options:
        return f"its options hold {_shown(odd)}; allowed are texts"
    if isinstance(gold, list) != several:
        if several:
            return f"{_shown(gold)} is one right answer; the task's first row has a list of them"
        return f"{_shown(gold)} is a list; the task's first row has one right answer"
    answers = gold if several else [gold]
    wrong = [answer for answer in answers if not _names_option(answer, options)]
    if wrong or not answers:
        first = wrong[0] if wrong else gold
        allowed = f"0 to {len(options) - 1}" + ("" if several else " and the text of an option")
        if isinstance(first, str) and first.strip().isdigit():
            allowed += " (it is text: some cell of its column is no whole number)"
        return f"{_shown(first)} names no option; allowed are {allowed}"
    return None


def _names_option(gold: Any, options: list[str]) -> bool:
    if isinstance(gold, str):
        return gold in options
    try:
        return 0 <= operator.index(gold) < len(options)
    except TypeError:
        return False


def _answer_field(task: Task, document: dict[str, Any]) -> str:
    """The column of a row that says what is right, or the template that does."""
    config = task._harness.config
    source = config.doc_to_text if task._harness.multiple_input else config.doc_to_target
    if isinstance(source, str) and source in document:
        return f"column {source}"
    return f"its answer ({_shown(source)})"


def _place(task: Task, doc_id: int) -> str:
    place = task.place_of(doc_id)
    return f"task {task.name}, row {doc_id}" + (f" ({place})" if place else "")


def _shown(value: Any) -> str:
    text = value if callable(value) else repr(value)
    text = str(getattr(text, "__name__", text))
    return text if len(text) <= 80 else text[:77] + "..."


def _asked(request: OptionRequest | GenerationRequest) -> list[Any]:
    if isinstance(request, OptionRequest):
        return [request.option, request.context, request.continuation]
    sampling = request.sampling
    drawn = (
        []
        if sampling is None
        else [sampling.temperature, sampling.top_k, sampling.top_p, sampling.seed, request.draw]
    )
    return [request.prompt, request.until, request.max_gen_toks, drawn]
