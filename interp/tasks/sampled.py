"""How the answers of a task are drawn, where they are not greedy."""

import math
from dataclasses import dataclass
from typing import Any

from interp.errors import UserError

BEYOND_SAMPLING: dict[str, Any] = {
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
"""Options of `transformers`, beside temperature, top_k and top_p, that change only what is drawn.

With the values at which they do nothing.
"""


@dataclass(frozen=True)
class Sampling:
    """How the tokens of an answer are drawn from `softmax(logits / temperature)`.

    Attributes:
        temperature: above 0.
        seed: the seed of all draws.
        top_k: only among this many likeliest tokens; 0 for all.
        top_p: only among the likeliest tokens that together have this probability; 1 for all.
    """

    temperature: float
    seed: int = 0
    top_k: int = 0
    top_p: float = 1.0


def asked_sampling(arguments: dict[str, Any], task: str, seed: int) -> Sampling:
    """How the harness' arguments draw; `transformers` refuses the same values.

    Args:
        arguments: lm-evaluation-harness' `generation_kwargs`.
        task: its name, for messages.
        seed: the seed of all draws.

    Returns:
        What they ask for.

    Raises:
        UserError: a value with which nothing can be drawn, or an option beyond temperature, top_k
            and top_p.
    """
    for name, neutral in BEYOND_SAMPLING.items():
        if arguments.get(name, neutral) not in (neutral, None):
            raise UserError(
                f"task {task}: {name} {arguments[name]}; allowed are temperature, top_k and top_p"
            )
    given: list[Any] = [arguments.get(name) for name in ("temperature", "top_k", "top_p")]
    temperature, top_k, top_p = given
    if not _is_number(temperature) or temperature <= 0:
        raise UserError(
            f"task {task}: it samples at temperature {temperature}; allowed are numbers above 0"
        )
    if top_k is not None and (type(top_k) is not int or top_k < 0):
        raise UserError(f"task {task}: top_k {top_k}; allowed are whole numbers, 0 for all tokens")
    if top_p is not None and not (_is_number(top_p) and 0 < top_p <= 1):
        raise UserError(f"task {task}: top_p {top_p}; allowed are numbers above 0 and up to 1")
    return Sampling(float(temperature), seed, top_k or 0, 1.0 if top_p is None else float(top_p))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
