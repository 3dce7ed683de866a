"""The same questions asked in another way: other few-shot examples, another wording or order.

A score may depend on what is not part of the question itself (Sclar et al., arXiv 2310.11324;
Zheng et al., arXiv 2309.03882, for the order of options).
"""

import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any

from interp.errors import UserError
from interp.tasks.groups import Group
from interp.tasks.option_order import rotated_options
from interp.tasks.task import Task

PUBLISHED = "published"
"""The way in which a task is asked unless another is named."""

WAYS = ("fewshot-seed", "fewshot-order", "wording", "option-order")
"""The kinds of ways in which a task can be asked otherwise."""
_NAMED = re.compile(rf"({'|'.join(WAYS)})-([1-9]\d{{0,3}})")


def asked_as(task: Task, way: str) -> Task:
    """A task asked in another way; its name starts with the way.

    - `fewshot-seed-K`: few-shot examples drawn at random, by the task's own seed plus K.
    - `fewshot-order-K`: its few-shot examples in the K-th of several random orders, the same
      order for all rows.
    - `wording-K`: the K-th template of `metadata: {wordings: [...]}` in the task's YAML, in place
      of `doc_to_text`.
    - `option-order-K`: the options of every question turned by K places, so that the right one
      stands elsewhere; those of few-shot examples stay.

    Args:
        task: the task as it is published, or with a token budget or draws; a chat template is put
            on afterwards (`as_chat`).
        way: as above, or `published` for the task itself.

    Returns:
        The task in that way.

    Raises:
        UserError: no such way, or the task does not have it.
    """
    if way == PUBLISHED:
        return task
    match = _NAMED.fullmatch(way)
    if match is None:
        allowed = ", ".join(f"{name}-K" for name in WAYS)
        raise UserError(f"way of asking {way!r}: allowed are {PUBLISHED}, {allowed}")
    if task.variant.chat_template or task.variant.way:
        raise UserError(
            f"task {task.name}: it is asked in a way of its own already; give the plain task (a "
            "chat template goes on afterwards)"
        )
    kind, number = match.group(1), int(match.group(2))
    harness = _changed(task, _CHANGES[kind](task, number))
    return replace(task, _harness=harness, variant=replace(task.variant, way=way))


def way_of(variant: Mapping[str, Any]) -> str:
    """The way in which a task of a run was asked, as `asked_as` takes it.

    Args:
        variant: the variant of the task, in the run's manifest.

    Returns:
        `published` where the manifest names none.
    """
    return str(variant.get("way") or PUBLISHED)


def published_seed(variant: Mapping[str, Any]) -> int | None:
    """The seed of few-shot examples before the task was asked in another way.

    Args:
        variant: the variant of the task, in the run's manifest.

    Returns:
        None for lm-evaluation-harness' own.
    """
    seed, match = variant.get("fewshot_seed"), _NAMED.fullmatch(way_of(variant))
    if seed is None or match is None or match.group(1) != WAYS[0]:
        return None if seed is None else int(seed)
    return int(seed) - int(match.group(2))


def way_names(kind: str, number: int) -> list[str]:
    """The names of several ways of asking of one kind, the published one first.

    Args:
        kind: one of `WAYS`.
        number: how many, the published one counted.

    Returns:
        `published`, and the kind followed by numbers from 1.

    Raises:
        UserError: no such kind, or fewer than two.
    """
    if kind not in WAYS:
        raise UserError(f"way of asking {kind!r}: allowed are {', '.join(WAYS)}")
    if type(number) is not int or not 2 <= number < 1000:
        raise UserError(
            f"{kind} {number!r}: allowed are whole numbers from 2, the published way counted"
        )
    return [PUBLISHED, *(f"{kind}-{place}" for place in range(1, number))]


def _changed(task: Task, change: Callable[[Any], Any]) -> Any:
    harness = task._harness
    return harness.changed(change) if isinstance(harness, Group) else change(harness)


def _other_draw(task: Task, number: int) -> Callable[[Any], Any]:
    _refuse_without_examples(task, 1, "another draw")
    seed = task.fewshot_seed + number
    return lambda member: member.other_draw(seed)


def _other_order(task: Task, number: int) -> Callable[[Any], Any]:
    shots = task.num_fewshot
    _refuse_without_examples(task, 2, "another order")
    if number >= math.factorial(min(shots, 8)):
        raise UserError(
            f"task {task.name}: {shots} few-shot examples have {math.factorial(shots)} orders; "
            f"fewshot-order-{number} is none of them"
        )
    order = next(islice(_orders(shots), number - 1, None))
    return lambda member: member.other_order(order)


def _orders(shots: int) -> Any:
    """Different orders of few-shot examples, without the published one, always the same."""
    seen, rng = {tuple(range(shots))}, random.Random(0)
    for _ in count():
        order = tuple(rng.sample(range(shots), shots))
        if order not in seen:
            seen.add(order)
            yield order


def _other_wording(task: Task, number: int) -> Callable[[Any], Any]:
    listed = task.wordings
    if number > len(listed):
        raise UserError(
            f"task {task.name}: its YAML lists {len(listed) or 'no'} other wordings (metadata: "
            f"{{wordings: [...]}}); wording-{number} is not among them"
        )
    return lambda member: member.other_wording(listed[number - 1])


def _other_options(task: Task, number: int) -> Callable[[Any], Any]:
    def turned(member: Any) -> Any:
        rows: Sequence[dict[str, Any]] = member.eval_docs
        return member.other_rows(rotated_options(member, rows, number, task=task.name))

    return turned


def _refuse_without_examples(task: Task, least: int, what: str) -> None:
    if task.num_fewshot < least:
        raise UserError(
            f"task {task.name}: {task.num_fewshot} few-shot examples; {what} needs {least} and "
            "more (num_fewshot)"
        )


_CHANGES: dict[str, Callable[[Task, int], Callable[[Any], Any]]] = {
    "fewshot-seed": _other_draw,
    "fewshot-order": _other_order,
    "wording": _other_wording,
    "option-order": _other_options,
}
