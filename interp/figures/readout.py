"""Figures of the quality of a tuned lens, and of the parts that write the answer."""

import matplotlib
import pandas as pd
from matplotlib.ticker import FuncFormatter

from interp.errors import UserError
from interp.figures import palette, style, tables
from interp.labels import model_label, task_label

PARTS = {"attention": ("Attention", palette.BLUE), "mlp": ("MLP", palette.ORANGE)}


def divergence(table: pd.DataFrame, *, width: float = style.COLUMN) -> style.PrintFigure:
    """The held-out divergence of the plain and the tuned lens, by depth.

    Args:
        table: columns `depth plain tuned` (`interp.lens.held_out_table`), with `model`, `text` and
            `held_out_tokens` for the caption.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel.
    """
    rows = table[table["after"] != "attention"].sort_values("depth")
    # at the last depth both are zero by definition, which a logarithmic axis cannot show
    rows = rows[rows["depth"] < rows.groupby("model")["depth"].transform("max")]
    models = tables.in_order(rows["model"])
    colours = palette.model_colours(models)
    with matplotlib.rc_context(style.RC):
        figure = style.new_figure(width, 2.3, rows)
        axes = figure.subplots()
        for model in models:
            of_model = rows[rows["model"] == model]
            name = f"{model_label(model)}, " if len(models) > 1 else ""
            for kind, dash, marker in (("plain", "-", "o"), ("tuned", "--", "s")):
                axes.plot(
                    of_model["depth"], of_model[kind],
                    color=colours[model], linestyle=dash, marker=marker,
                    label=f"{name}{kind} lens" if name else f"{kind.capitalize()} lens",
                )  # fmt: skip
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("Layers passed")
        axes.set_ylabel("Divergence from the last\nlayer's prediction (nats)")
        axes.xaxis.set_major_locator(style.WholeNumbers())
        figure.legend(loc="outside upper center", ncols=2)
        texts = " and ".join(tables.in_order(rows["text"]))
        n = int(rows["held_out_tokens"].min())
        style.finish(figure, [f"Tuned on {texts}; mean over {n} held-out tokens."])
    return figure


def attribution(
    table: pd.DataFrame, *, quantity: str = "margin", width: float = style.PAGE
) -> style.PrintFigure:
    """The direct effect of each layer's attention and MLP on the answer, a panel per task.

    Args:
        table: from `interp.lens.direct_logit_attribution`, one model, or several tasks together.
        quantity: `margin` over the best rival, or `logit`.
        width: width of the figure in inches.

    Returns:
        A Matplotlib figure of one panel per task.
    """
    rows = table[(table["quantity"] == quantity) & table["kind"].isin(PARTS)]
    if rows.empty:
        raise UserError(f"quantity {quantity!r}: allowed are margin and logit")
    if len(set(rows["model"])) > 1:
        raise UserError("the figure of direct effects draws one model")
    tasks = tables.tasks_in_order(rows["task"])
    with matplotlib.rc_context(style.RC):
        figure, panels = style.new_panels(len(tasks), rows, height=(0.85, 1.45), width=width)
        for axes, task in zip(panels.flat, tasks, strict=False):
            for place, (kind, (_, colour)) in enumerate(PARTS.items()):
                of_panel = rows[(rows["task"] == task) & (rows["kind"] == kind)].sort_values(
                    "layer"
                )
                x = of_panel["layer"] + 0.4 * (place - 0.5)
                axes.bar(x, of_panel["value"], width=0.38, color=colour)
                axes.vlines(x, of_panel["low"], of_panel["high"], color="black", linewidth=0.8)
            axes.axhline(0, color=style.GREY, linewidth=0.8)
            axes.set_title(task_label(task))
            axes.xaxis.set_major_locator(style.WholeNumbers())
        style.name_panels(panels, len(tasks), x="Layer", y="Direct effect\n(logits)")
        handles = [
            matplotlib.patches.Patch(color=colour, label=label) for label, colour in PARTS.values()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
        quantity_text = "its margin over its best rival" if quantity == "margin" else "its logit"
        notes = [tables.describe_n(rows), f"Effect on the right answer: {quantity_text}.",
                 tables.describe_intervals(rows, "Bars")]  # fmt: skip
        style.finish(figure, notes)
    return figure
