"""The share of the baseline's answers that each ablated model would have written itself."""

from collections.abc import Sequence

import matplotlib
import pandas as pd

from interp.figures import palette, style
from interp.labels import model_label


def drafts(counts: pd.DataFrame, *, width: float = style.COLUMN) -> style.PrintFigure:
    """The share of draft tokens that were accepted, by ablated layer, one line per model.

    The draft is the baseline's answer. Its tokens before the first one that the ablated model would
    not have written count as accepted. Where the share is high, the ablation hardly changes
    answers. Where it is low, generating under the ablation takes the most time.

    Args:
        counts: columns `model`, `layer`, `baseline_tokens` (tokens of the baseline's answers) and
            `baseline_accepted` (those up to the first difference); one row per model and layer.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel.
    """
    table = counts.copy()
    table["share"] = 100 * table["baseline_accepted"] / table["baseline_tokens"]
    models = list(dict.fromkeys(table["model"]))
    looks = palette.model_looks(models)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 2.5, table)
        axes = figure.subplots()
        for model in models:
            rows = table[table["model"] == model].sort_values("layer")
            axes.plot(
                rows["layer"],
                rows["share"],
                color=looks[model].colour,
                marker=looks[model].marker,
                label=model_label(model),
            )
        axes.set_xlabel("Ablated layer")
        axes.set_ylabel("Draft tokens accepted (%)")
        axes.set_ylim(*style.PERCENT)
        axes.xaxis.set_major_locator(style.WholeNumbers())
        figure.legend(loc="outside upper center", ncols=min(3, len(models)))
        style.finish(figure, _notes(table, models))
    return figure


def _notes(table: pd.DataFrame, models: Sequence[str]) -> list[str]:
    tokens = table.groupby("model")["baseline_tokens"].max()
    listed = ", ".join(f"{int(tokens[m]):,} tokens ({model_label(m)})" for m in models)
    return [
        f"Draft: the baseline's answers, {listed}.",
        "Accepted: those before the first token that the ablated model would not write.",
    ]
