"""Counterfactual twins: prompts in pairs that differ in one thing and ask for different answers.

Activation patching needs two prompts of the same number of tokens, so that what one has at a
position can be put at the same position of the other (Heimersheim & Nanda, arXiv 2404.15255). Each
pair gives two rows: *denoising* runs the changed prompt, whose twin is the original; *noising* runs
the original, whose twin is the changed one. The options of a row are its own answer and its twin's.
"""

import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.errors import UserError, check_seed, first_line
from interp.models import Decoder
from interp.tasks.examples import select_examples
from interp.tasks.key_value import LETTERS, layout_of, task_of_rows
from interp.tasks.loading import load_task
from interp.tasks.positions import (
    MARK,
    SPANS,
    answer_text,
    class_spans,
    encode_with_offsets,
)
from interp.tasks.requests import encode, prompt_text
from interp.tasks.task import Task
from interp.tasks.templates import bounded

log = logging.getLogger("interp")

TWIN = "twin"
"""The field of a row that holds the prompt of its twin."""

CLUSTER = "cluster"
"""The field of a row of a pair that says what its task's rows share, where the task declares it."""

OTHER_ROWS = 64
"""Rows whose answers are tried in the place of one that has no options."""

Document = Mapping[str, Any]
Change = Callable[[dict[str, Any]], Mapping[str, Any]]
"""From a row to the row that it is turned into; all fields that its prompt and answer need."""


def twins(
    model: TransformerBridge,
    task: str | Task,
    *,
    by: str | Change = "gold",
    limit: int | None = None,
    seed: int = 0,
) -> Task:
    """A task of pairs of prompts that differ in one thing, for activation patching.

    Args:
        model: whose tokenizer counts: both prompts of a pair have the same number of tokens.
        task: whose rows are changed.
        by: what differs. `"gold"`: the value that is asked for, in key-value rows and in passages
            (it changes places with another option, so that a passage contradicts what is true).
            `"key"`: which pair of a key-value row is asked for. A field of the rows
            (`"person"`): the twin is another row whose prompt differs in this field alone. A
            function: a function from a row to the changed row.
        limit: at most this many pairs; all by default.
        seed: the seed of the draw of pairs and twins.

    Returns:
        A task that scores two options, one row for each direction of each pair. Its clusters are
        those that the task declares (wordings, passages: the twin's is that of the row it was made
        of), else the pairs.

    Raises:
        UserError: no row has a twin of as many tokens. Where some have none, the first of them is
            named in a warning, and they are left out.
    """
    loaded = task if isinstance(task, Task) else load_task(task)
    decoder, rows, words = models.decoder(model), [], by if isinstance(by, str) else "function"
    drawn, without = select_examples(loaded, limit, seed=seed), list[int]()
    if not drawn:
        raise UserError(f"task {loaded.name}: it has no examples")
    with _rows_of_users(loaded):
        changed = _changes(loaded, by, random.Random(f"{seed}-{words}"), decoder)
    for doc_id in drawn:
        with _rows_of_users(loaded, doc_id):
            directions = _directions(loaded, doc_id, changed, decoder)
        if not directions:
            without.append(doc_id)
        rows += directions
    if without:
        message = (
            f"task {loaded.name}, row {without[0]}: no twin of it (by {words}) has another answer "
            f"and as many tokens; so it is with {len(without)} of {len(without) + len(rows) // 2}"
        )
        if not rows:
            raise UserError(message)
        log.warning("%s; they are left out", message)
    return _task_of_pairs(f"twins-{words}-{loaded.name}", rows, loaded.target_delimiter)


def halves_of_pairs(pairs: Task, *, seed: int = 0) -> tuple[Task, Task]:
    """The pairs of a task in two random halves: one to choose on, one to measure the choice on.

    Pairs of one cluster stay together, or the halves would not be independent.

    Args:
        pairs: from `twins`.
        seed: the seed of the draw.

    Returns:
        Two tasks of pairs; the first has the odd one, or the odd cluster.

    Raises:
        UserError: the task is not of pairs, or has fewer than four of them or of their clusters.
    """
    if not isinstance(pairs, Task):
        raise UserError(f"pairs {pairs!r:.80}: allowed is a task from interp.twins")
    check_seed(seed)
    rows = [dict(row) for row in pairs.documents()]
    if any(TWIN not in row for row in rows):
        raise UserError(f"task {pairs.name}: it has no pairs; make some by interp.twins")
    count = len(rows) // 2
    if count < 4:
        raise UserError(f"task {pairs.name}: {count} pairs; two halves need 4 and more")
    units = [str(rows[2 * n].get(CLUSTER, n)) for n in range(count)]
    names = list(dict.fromkeys(units))
    if len(names) < 4:
        raise UserError(
            f"task {pairs.name}: its pairs are in {len(names)} clusters; two halves need 4 and more"
        )
    order = random.Random(seed).sample(range(len(names)), len(names))
    first = {names[n] for n in order[: -(-len(names) // 2)]}
    parts = ([n for n in range(count) if units[n] in first],
             [n for n in range(count) if units[n] not in first])  # fmt: skip
    one, other = (
        _task_of_pairs(
            pairs.name,
            [row for n in part for row in rows[2 * n : 2 * n + 2]],
            pairs.target_delimiter,
        )
        for part in parts
    )
    return one, other


def _task_of_pairs(name: str, rows: Sequence[dict[str, Any]], delimiter: str) -> Task:
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "{{prompt}}",
        "doc_to_choice": "options",
        "doc_to_target": "gold",
        "target_delimiter": delimiter,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0, "cluster": CLUSTER if CLUSTER in rows[0] else "pair"},
    }
    made: Task = task_of_rows(name, rows, config)
    return made


def twin_tokens(
    task: Task, doc_id: int, decoder: Decoder, *, context: Sequence[int]
) -> tuple[int, ...]:
    """The tokens of the prompt of a row's twin.

    Args:
        task: the task.
        doc_id: row of the task.
        decoder: the decoder of the model, whose tokenizer counts.
        context: the tokens of the row's own prompt as they are run.

    Returns:
        As many tokens as the row's own prompt has.

    Raises:
        UserError: the row has no twin, or one of another length.
    """
    document = task.documents()[doc_id]
    if not isinstance(document.get(TWIN), str):
        raise UserError(
            f"task {task.name}, row {doc_id}: it has no twin (a text in its field {TWIN}); make a "
            "task of pairs by interp.twins(model, task)"
        )
    tokens = tuple(encode(document[TWIN].rstrip(), decoder))
    if len(tokens) != len(context):
        raise UserError(
            f"task {task.name}, row {doc_id}: its twin has {len(tokens)} tokens and its own prompt "
            f"{len(context)}; they must be aligned"
        )
    return tokens


@contextmanager
def _rows_of_users(task: Task, doc_id: int | None = None) -> Iterator[None]:
    """Rows, templates and functions of a user's own may raise anything: it is said in one line."""
    try:
        with bounded():
            yield
    except UserError:
        raise
    except Exception as error:
        row = "" if doc_id is None else f", row {doc_id}"
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"task {task.name}{row}: no twin can be made of it ({reason})") from error


def _directions(
    task: Task, doc_id: int, changed: Callable[[Document], Iterable[Document]], decoder: Decoder
) -> list[dict[str, Any]]:
    """A row and its twin, each run with the other's activations; nothing where it has no twin."""
    document = task.documents()[doc_id]
    twin = next(
        (candidate for candidate in changed(document) if _fits(task, document, candidate, decoder)),
        None,
    )
    if twin is None:
        return []
    return [
        _row(task, doc_id, "denoising", twin, document, decoder),
        _row(task, doc_id, "noising", document, twin, decoder),
    ]


def _changes(
    task: Task, by: str | Change, rng: random.Random, decoder: Decoder
) -> Callable[[Document], Iterable[Document]]:
    """From a row to its candidate twins, in a drawn order."""
    if callable(by):
        return lambda document: [by(dict(document))]
    first = task.documents()[0]
    if by == "key" and "pairs" in first:
        return lambda document: _other_keys(document, rng)
    if by == "gold" and ("pairs" in first or "passage" in first):
        return lambda document: _other_values(task, document, rng, decoder)
    if isinstance(by, str) and by in first:
        return _other_rows(task, by, rng)
    raise UserError(
        f"task {task.name}: no twins by {by!r:.80}; allowed are gold (rows with pairs or a "
        f"passage), key (rows with pairs), a function, and the fields {', '.join(first)}"
    )


def _answered(document: Document, answer: str, **changed: Any) -> Document:
    """The row with another right answer."""
    twin = {**document, **changed, "answer": answer}
    if "first_answer" in document:
        twin |= {"first_answer": f" {answer}", "answers": [answer]}
    if "options" in document:
        twin["gold"] = list(document["options"]).index(answer)
        if "letter" in document:
            twin["letter"] = LETTERS[twin["gold"]]
    return twin


def _other_keys(document: Document, rng: random.Random) -> Iterator[Document]:
    options, pairs = document.get("options"), list(enumerate(document["pairs"]))
    for number, (key, value) in rng.sample(pairs, len(pairs)):
        if number != document["gold_position"] and (options is None or value in options):
            yield _answered(document, value, key=key, gold_position=number)


def _other_values(
    task: Task, document: Document, rng: random.Random, decoder: Decoder
) -> Iterator[Document]:
    """The gold value and another option of as many tokens in each other's places."""
    answer, pairs = answer_text(task, document), document.get("pairs")
    others = document.get("options") or [value for _, value in pairs or ()]
    if not others:
        # where a row has no options, what answers other rows
        rows = task.documents()
        numbers = rng.sample(range(len(rows)), min(len(rows), OTHER_ROWS))
        others = list(dict.fromkeys(answer_text(task, rows[n]) for n in numbers))
    for other in rng.sample(list(others), len(others)):
        # values of different lengths would move what lies between them
        if other == answer or _tokens_in_text(other, decoder) != _tokens_in_text(answer, decoder):
            continue
        places = {answer: other, other: answer}
        if pairs is None:
            yield _answered(document, other, passage=_exchanged(document["passage"], places))
            continue
        swapped = [[key, places.get(value, value)] for key, value in pairs]
        text, _ = layout_of(document, task.name).write([(k, v) for k, v in swapped])
        yield _answered(document, other, pairs=swapped, pairs_text=text)


def _exchanged(passage: str, places: Mapping[str, str]) -> str:
    """A passage in which two texts stand in each other's places, as whole words."""
    either = "|".join(re.escape(text) for text in sorted(places, key=len, reverse=True))
    return re.sub(rf"(?<!\w)(?:{either})(?!\w)", lambda found: places[found[0]], passage)


def _other_rows(
    task: Task, field: str, rng: random.Random
) -> Callable[[Document], Iterable[Document]]:
    """Other rows whose own text differs in one field alone."""
    alike: dict[str, list[Document]] = {}

    def without(document: Document) -> str:
        return task.question(document).replace(str(document[field]), MARK)

    for row in task.documents():
        if MARK in without(row):
            alike.setdefault(without(row), []).append(row)

    def others(document: Document) -> list[Document]:
        same_form = alike.get(without(document), [])
        return rng.sample(same_form, len(same_form))

    return others


def _tokens_in_text(value: str, decoder: Decoder) -> int:
    return len(encode(f" {value}", decoder))


def _fits(task: Task, document: Document, twin: Document, decoder: Decoder) -> bool:
    """Whether a row is another prompt of as many tokens, with another answer."""
    prompt, twin_prompt = (prompt_text(task, dict(row)).rstrip() for row in (document, twin))
    if prompt == twin_prompt or task.target_text(document) == task.target_text(twin):
        return False
    return len(encode(prompt, decoder)) == len(encode(twin_prompt, decoder))


def _row(
    task: Task, doc_id: int, direction: str, own: Document, twin: Document, decoder: Decoder
) -> dict[str, Any]:
    """A prompt that is run, its twin, and where the classes of positions are in it."""
    prompt, other = (prompt_text(task, dict(row)) for row in (own, twin))
    tokens, offsets = encode_with_offsets(prompt.rstrip(), decoder)
    twin_tokens = encode(other.rstrip(), decoder)
    changed = [list(offsets[i]) for i, token in enumerate(tokens) if token != twin_tokens[i]]
    spans = {name: [list(s) for s in some] for name, some in class_spans(task, own, prompt).items()}
    field = task.cluster_field
    shared = {} if field is None else {CLUSTER: str(task.documents()[doc_id][field])}
    return {
        "pair": doc_id,
        "direction": direction,
        "prompt": prompt,
        TWIN: other,
        "options": [task.target_text(own), task.target_text(twin)],
        "gold": 0,
        SPANS: {**spans, "changed": changed},
        **shared,
    }
