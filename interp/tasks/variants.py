"""Generating tasks as a chat, with another token budget, or sampled: asked for, and named so."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from interp.errors import UserError
from interp.models import decoder, model_name
from interp.tasks.task import Task

Messages = Sequence[dict[str, str]]


def chat_text(model: TransformerBridge, messages: Messages, **arguments: Any) -> str:
    """Messages as a model's chat template writes them.

    Args:
        model: whose tokenizer has the template.
        messages: `{"role": ..., "content": ...}` each.
        **arguments: of `tokenizer.apply_chat_template`; by default the start of the model's answer
            is added.

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
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **arguments)
    except Exception as error:  # templates are programs
        raise UserError(
            f"model {model_name(model)}: its chat template cannot write these messages ({error})"
        ) from error
    return text


def as_chat(task: Task, model: TransformerBridge) -> Task:
    """The same task through a model's chat template, worked examples as earlier turns.

    Prompts are those of lm-evaluation-harness with `--apply_chat_template`. The task's name starts
    with `chat-`, so that its records are never taken for those of the plain prompts.

    Raises:
        UserError: the task scores options, or the model has no chat template.
    """
    _refuse_options(task, "chat templates")
    chat_text(model, [{"role": "user", "content": "?"}])
    harness = copy.copy(task.harness)
    harness.fewshot_context = partial(
        task.harness.fewshot_context,
        apply_chat_template=True,
        fewshot_as_multiturn=True,
        chat_template=partial(chat_text, model),
    )
    return replace(task, name=f"chat-{task.name}", harness=harness)


def with_budget(task: Task, max_gen_toks: int) -> Task:
    """The same task with at most `max_gen_toks` tokens an answer; the name starts with it.

    Raises:
        UserError: the task scores options, or the number is below 1.
    """
    _refuse_options(task, "token budgets")
    if max_gen_toks < 1:
        raise UserError(f"max_gen_toks {max_gen_toks}: allowed are 1 and more")
    return _asked(task, f"{max_gen_toks}-tokens-{task.name}", partial(_limited, max_gen_toks))


def with_draws(task: Task, *, temperature: float, draws: int | None = None) -> Task:
    """The same task with answers drawn at a temperature; the name starts with both.

    The task's own filters say how several draws of an example become its metrics (`text_metrics`).
    Its own `top_k` and `top_p` hold, where it has any.

    Args:
        task: the task.
        temperature: above 0.
        draws: answers an example; by default as often as the task repeats a question.

    Raises:
        UserError: the task scores options, or a number is not allowed.
    """
    _refuse_options(task, "draws")
    draws = task.repeats if draws is None else draws
    if not (math.isfinite(temperature) and temperature > 0):
        raise UserError(
            f"temperature {temperature:g}: allowed are numbers above 0 (none: greedy answers)"
        )
    if draws < 1:
        raise UserError(f"draws {draws}: allowed are 1 and more")
    name = f"{draws}-draws-at-{temperature:g}-{task.name}"
    return _asked(task, name, partial(_drawn, temperature), repeats=draws)


def _asked(
    task: Task, name: str, change: Callable[[dict[str, Any]], dict[str, Any]], *, repeats: int = 0
) -> Task:
    """The task under another name, its requests with changed generation arguments.

    Args:
        task: the task.
        name: of the new one.
        change: from a request's generation arguments to its new ones.
        repeats: how often each is asked; 0 as it was.
    """
    harness = copy.copy(task.harness)
    harness.construct_requests = partial(
        _requests, task.harness.construct_requests, change, repeats
    )
    return replace(task, name=name, harness=harness)


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
    if not task.generates:
        raise UserError(f"task {task.name}: it scores options; {what} are for generated answers")
