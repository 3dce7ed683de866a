"""The columns that say what an ablation acts on, and the short form of a table of drops."""

import re

import pandas as pd

from interp import ablations

LEADING = ["task", "ablation", "kind", "layer", "head", "metric", "drop", "low", "high",
           "p_adjusted", "n"]  # fmt: skip
DIGITS = 4


def with_places(importance: pd.DataFrame) -> pd.DataFrame:
    """Add `kind`, `layer` and `head` to a table of ablations, and put the main columns first.

    `kind` is the text form before its numbers (`layer`, `head@mean`, `layers`); `layer` and `head`
    are missing where an ablation has none or several.

    Returns:
        The same rows in the same order.
    """
    texts = list(dict.fromkeys(importance["ablation"]))
    places = {text: place_of(text) for text in texts}
    table = importance.assign(
        kind=[places[text][0] for text in importance["ablation"]],
        layer=pd.array([places[text][1] for text in importance["ablation"]], dtype="Int64"),
        head=pd.array([places[text][2] for text in importance["ablation"]], dtype="Int64"),
    )
    front = [name for name in LEADING if name in table]
    return table[[*front, *(name for name in table if name not in front)]]


def place_of(text: str) -> tuple[str, int | None, int | None]:
    """Kind, layer and head of an ablation, from its text.

    `head:7.3@mean` gives `("head@mean", 7, 3)`, `layers:2-5` `("layers", None, None)`.

    Returns:
        The kind, the layer and the head; None for what the text has none or several of.
    """
    parsed = ablations.parsed_or_none(text)
    form, _, rest = text.partition(":")
    if parsed is None:
        return form, None, None
    if "+" in text:
        return "combination", None, None
    replaced = re.search(r"@\D.*", rest)
    layer, head = getattr(parsed, "layer", None), getattr(parsed, "head", None)
    return form + (replaced[0] if replaced else ""), layer, head


def short(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that are read first, numbers to four significant digits.

    Columns that add nothing are left out: `head` without heads, and all of `kind`, `layer` and
    `head` where all ablations are of one kind.

    Returns:
        The same rows, fewer columns.
    """
    kept = [name for name in [*LEADING, "failures"] if name in table]
    narrow = table[kept]
    empty = [name for name in ("layer", "head") if narrow[name].isna().all()]
    if len(set(narrow["kind"])) == 1:
        empty = ["kind", "layer", "head"]
    if "failures" in narrow and not narrow["failures"].any():
        empty.append("failures")
    narrow = narrow.drop(columns=empty)
    numbers = [name for name in ("drop", "low", "high", "p_adjusted") if name in narrow]
    return narrow.assign(**{name: narrow[name].map(_rounded) for name in numbers})


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
