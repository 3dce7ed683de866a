"""Generating tasks as a chat, with another token budget, or sampled: asked for, and named so.

A chat template may write the date of the day, so that the same command would ask something else
tomorrow. Here every template is told the same day (`FROZEN_DATE`, which is the one that Llama 3's
templates fall back on), so that prompts depend on the model and the task alone.
"""

import copy
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError, check_number, check_whole
from interp.models import decoder, model_name
from interp.tasks.task import Task, TaskVariant

Messages = Sequence[dict[str, str]]
"""A conversation: each message has its `role` and its `content`."""
FROZEN_DATE = datetime(2024, 7, 26)
"""The day that chat templates are given as the present one."""

_FORMATS = {f"%{letter}": FROZEN_DATE.strftime(f"%{letter}") for letter in "AaBbdfHIjMmpSyY"}
_FORMATS |= {"%-d": str(FROZEN_DATE.day), "%e": f"{FROZEN_DATE.day:2}"}
_FROZEN_DAY = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f"|replace('{one}', '{text}')" for one, text in _FORMATS.items())
    + " }}{% endmacro %}{{ '' }}"
)
"""Precedes a chat template: a clock that always says the same (transformers passes none)."""

SAMPLE: Messages = (
    {"role": "system", "content": "S"},
    {"role": "user", "content": "Q"},
    {"role": "assistant", "content": "A"},
    {"role": "user", "content": "Q"},
)


def chat_text(model: TransformerBridge, messages: Messages, **arguments: Any) -> str:
    """Messages as a model's chat template writes them.

    Args:
        model: whose tokenizer has the template.
        messages: `{"role": ..., "content": ...}` each.
        **arguments: arguments of `tokenizer.apply_chat_template`; by default the start of the
            model's answer is added. The day is `FROZEN_DATE`.

    Returns:
        The prompt, special tokens written out.

    Raises:
        UserError: the model has no chat template, or it refuses the messages.
    """
    tokenizer = decoder(model).tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(f"model {model_name(model)}: its tokenizer has no chat template")
    arguments = {"add_generation_prompt": True, **arguments}
    # as the harness: a message that is begun for the model is continued
    arguments.setdefault("continue_final_message", not arguments["add_generation_prompt"])
    try:
        template = tokenizer.get_chat_template(arguments.get("chat_template"))
        if "strftime_now" in template:
            arguments["chat_template"] = _FROZEN_DAY + template
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **arguments)
    except Exception as error:  # templates are programs
        raise UserError(
            f"model {model_name(model)}: its chat template cannot write these messages ({error})"
        ) from error
    return text


def chat_template_hash(model: TransformerBridge) -> str:
    """The first 16 digits of a SHA-256 of a model's chat template and of what it makes of a chat.

    Args:
        model: a bridge.

    Returns:
        16 hexadecimal digits.

    Raises:
        UserError: the model has no chat template.
    """
    template = getattr(decoder(model).tokenizer, "chat_template", None)
    written = [chat_text(model, SAMPLE[-1:])]
    for messages in (SAMPLE, SAMPLE[1:]):
        try:
            written.append(chat_text(model, messages))
        except UserError:  # some templates have no system message, some no earlier turns
            written.append("")
    content = json.dumps([template, written], sort_keys=True, default=str)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def as_chat(task: Task, model: TransformerBridge) -> Task:
    """The same task through a model's chat template, few-shot examples as earlier turns.

    Prompts are those of lm-evaluation-harness with `--apply_chat_template`, on `FROZEN_DATE`. The
    task's name starts with `chat-`, so that its records are never taken for those of the plain
    prompts.

    Args:
        task: a task that generates.
        model: whose tokenizer has the chat template.

    Returns:
        Another task; the given one stays as it is.

    Raises:
        UserError: the task scores options, or the model has no chat template.
    """
    _refuse_options(task, "chat templates")
    template = chat_template_hash(model)
    harness = copy.copy(task._harness)
    harness.fewshot_context = partial(
        task._harness.fewshot_context,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=partial(chat_text, model),
    )
    return replace(task, _harness=harness, variant=replace(task.variant, chat_template=template))


def with_budget(task: Task, max_gen_toks: int) -> Task:
    """The same task with at most `max_gen_toks` tokens for each answer.

    Args:
        task: a task that generates.
        max_gen_toks: most tokens of an answer; printed before the task's name.

    Returns:
        Another task; the given one stays as it is.

    Raises:
        UserError: the task scores options, or the number is below 1.
    """
    _refuse_options(task, "token budgets")
    check_whole("max_gen_toks", max_gen_toks, 1)
    variant = replace(task.variant, max_tokens=max_gen_toks)
    return _asked(task, variant, partial(_limited, max_gen_toks))


def with_draws(task: Task, *, temperature: float, draws: int | None = None) -> Task:
    """The same task with answers sampled at a temperature; both are printed before its name.

    The task's own filters say how several samples of an example become its metrics
    (`Task.score_texts`). Its own `top_k` and `top_p` hold, where it has any.

    Args:
        task: the task.
        temperature: above 0.
        draws: answers to each row; by default as often as the task repeats a question.

    Returns:
        Another task; the given one stays as it is.

    Raises:
        UserError: the task scores options, or a number is not allowed.
    """
    _refuse_options(task, "draws")
    draws = task.repeats if draws is None else draws
    check_number("temperature", temperature, above=0.0)
    check_whole("draws", draws, 1)
    variant = replace(task.variant, n_samples=draws, temperature=float(temperature))
    return _asked(task, variant, partial(_drawn, temperature), repeats=draws)


def _asked(
    task: Task,
    variant: TaskVariant,
    change: Callable[[dict[str, Any]], dict[str, Any]],
    *,
    repeats: int = 0,
) -> Task:
    """The task as another variant, its requests with changed generation arguments.

    Args:
        task: the task.
        variant: the new one.
        change: a function from a request's generation arguments to its new ones.
        repeats: how often each is asked; 0 as it was.
    """
    harness = copy.copy(task._harness)
    harness.construct_requests = partial(
        _requests, task._harness.construct_requests, change, repeats
    )
    return replace(task, _harness=harness, variant=variant)


def _requests(
    construct: Callable[..., Any],
    change: Callable[[dict[str, Any]], dict[str, Any]],
    repeats: int,
    **arguments: Any,
) -> list[Any]:
    made = construct(**arguments)
    instances = made if isinstance(made, list) else [made]
    for instance in instances:
        prompt, kwargs = instance.arguments
        instance.arguments = (prompt, change(kwargs))
        instance.repeats = repeats or instance.repeats
    return instances


def _drawn(temperature: float, kwargs: dict[str, Any]) -> dict[str, Any]:
    return {**kwargs, "do_sample": True, "temperature": temperature}


def _limited(limit: int, kwargs: dict[str, Any]) -> dict[str, Any]:
    # the harness knows the limit under several names that begin so
    kept = {key: value for key, value in kwargs.items() if not key.startswith("max_")}
    return {**kept, "max_gen_toks": limit}


def _refuse_options(task: Task, what: str) -> None:
    if not isinstance(task, Task):
        raise UserError(f"task {task!r:.80}: allowed is a task that load_task gives")
    if not task.generates:
        raise UserError(f"task {task.name}: it scores options; {what} are for generated answers")
