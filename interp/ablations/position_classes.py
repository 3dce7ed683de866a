"""Classes of positions of one example: its last prompt token, its answer, where its gold stands.

Ablations that act between positions of one example name them by class: `cut:10-14@answering/gold`.
Some classes follow from where the prompt ends, in `OF_EVERY_ROW`; the others from what the row
holds (`interp.tasks.class_positions`). Several are joined by a comma: `last,gold`.
"""

import re
from collections.abc import Iterable

from interp.errors import UserError

OF_EVERY_ROW = ("prompt", "last", "answer", "answering", "first")
"""Classes that every example has.

`prompt`: the tokens of the prompt. `last`: the last of them. `answer`: the tokens of the answer
that are read. `answering`: the positions whose logits predict the answer, which are the last of
the prompt and those of the answer. `first`: the first token.
"""

_ONE = r"(?:[a-z][a-z0-9_-]*|[0-9]{1,6}(?:-[0-9]{1,6})?)"
CLASS = rf"{_ONE}(?:,{_ONE})*"
"""Pattern of one class, or of several joined by commas; `3` and `3-7` are positions by number."""

NUMBERED = re.compile(r"([0-9]+)(?:-([0-9]+))?")


def of_the_row(names: Iterable[str]) -> tuple[str, ...]:
    """The classes among some texts of classes that follow from what a row holds.

    Args:
        names: classes, each perhaps several joined by commas.

    Returns:
        Each once, in alphabetical order.
    """
    class_names = {name for several in names for name in several.split(",")}
    return tuple(sorted(n for n in class_names - set(OF_EVERY_ROW) if not NUMBERED.fullmatch(n)))


def in_the_answer(names: str) -> str:
    """The first class among some that has positions after the prompt; empty where none has.

    Args:
        names: a class, or several joined by commas.

    Returns:
        `answer`, `answering`, or an empty text.
    """
    return next((name for name in names.split(",") if name in ("answer", "answering")), "")


def check_ranges(names: str, where: str) -> None:
    """Refuse positions by number that run downwards: they would be none at all.

    Args:
        names: a class, or several joined by commas.
        where: the ablation, for messages.

    Raises:
        UserError: a range such as `7-3`.
    """
    for name in names.split(","):
        numbered = NUMBERED.fullmatch(name)
        if numbered and numbered[2] and int(numbered[2]) < int(numbered[1]):
            raise UserError(
                f"{where}: the range {name} runs downwards; write {numbered[2]}-{numbered[1]}"
            )


def first_numbered(names: str) -> dict[str, int]:
    """Of each class among some that names positions by number, the first position.

    Args:
        names: a class, or several joined by commas.

    Returns:
        Class to position; empty where none is a number.
    """
    found = ((name, NUMBERED.fullmatch(name)) for name in names.split(","))
    return {name: int(numbered[1]) for name, numbered in found if numbered}
