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
from interp.tasks import Task

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
    harness = copy.copy(task.harness)
    harness.construct_requests = partial(
        _limited_requests, task.harness.construct_requests, max_gen_toks
    )
    return replace(task, name=f"{max_gen_toks}-tokens-{task.name}", harness=harness)


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
    harness = copy.copy(task.harness)
    harness.construct_requests = partial(
        _drawn_requests, task.harness.construct_requests, temperature, draws
    )
    return replace(task, name=f"{draws}-draws-at-{temperature:g}-{task.name}", harness=harness)


def _drawn_requests(
    construct: Callable[..., Any], temperature: float, draws: int, **arguments: Any
) -> list[Any]:
    """A harness task's requests, each asked several times."""
    made = construct(**arguments)
    instances = made if isinstance(made, list) else [made]
    for instance in instances:
        prompt, kwargs = instance.arguments
        instance.arguments = (prompt, {**kwargs, "do_sample": True, "temperature": temperature})
        instance.repeats = draws
    return instances


def _limited_requests(construct: Callable[..., Any], limit: int, **arguments: Any) -> list[Any]:
    """A harness task's requests, with another limit of tokens."""
    made = construct(**arguments)
    instances = made if isinstance(made, list) else [made]
    for instance in instances:
        prompt, kwargs = instance.arguments
        # the harness knows the limit under several names that begin so
        kept = {key: value for key, value in kwargs.items() if not key.startswith("max_")}
        instance.arguments = (prompt, {**kept, "max_gen_toks": limit})
    return instances


def _refuse_options(task: Task, what: str) -> None:
    if not task.generates:
        raise UserError(f"task {task.name}: it scores options; {what} are for generated answers")
