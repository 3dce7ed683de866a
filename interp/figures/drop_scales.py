"""Drops as figures draw them: in points, or as shares of what can be lost."""

import pandas as pd

from interp.errors import UserError

SCALES: dict[str, tuple[str, str]] = {
    "floor-aware": ("floor_aware", "Drop (% of baseline minus floor)"),
    "relative": ("relative", "Drop (% of baseline)"),
}
"""For each scale the columns of `interp.stats.importance`, and the name of the axis."""

UNITS = {"kl": "nats", "loss": "nats per token", "bits_per_byte": "bits per byte"}
"""The units of metrics that are not shares."""

DRAWN = "drawn_as"
"""The column that names the scale of the drops of a table, if it is not that of their unit."""


def on_scale(table: pd.DataFrame, drop: str) -> pd.DataFrame:
    """Drops and their intervals on another scale; only those of 0/1 metrics change.

    Args:
        table: from `interp.stats.importance`.
        drop: `points`, `floor-aware` (the lost share of baseline minus floor) or `relative` (the
            lost share of the baseline).

    Returns:
        The table with `drop low high interval` on that scale, NaN where the baseline is not clearly
        above its floor. Tests are those of the drop in points.

    Raises:
        UserError: there is no such scale, the table lacks its columns, or no row has a value on it.
    """
    if drop == "points":
        return table
    if not isinstance(drop, str) or drop not in SCALES:
        raise UserError(f"drop {drop!r:.80}: allowed are points, {', '.join(SCALES)}")
    column, label = SCALES[drop]
    if column not in table:
        raise UserError(
            f"drop {drop}: the table has no column {column}; give the sweep, or its importance()"
        )
    in_points = table["unit"].eq("points")
    if table.loc[in_points, column].isna().all():
        raise UserError(
            f"drop {drop}: no baseline is clearly above its floor, so there is no share to draw; "
            "take points"
        )
    scaled = table.assign(**{DRAWN: label})
    scaled.loc[~in_points, DRAWN] = None
    for name, source in (("drop", column), ("low", f"{column}_low"), ("high", f"{column}_high")):
        scaled[name] = table[source].where(in_points, table[name])
    interval_names = scaled.loc[in_points, "interval"].astype(str).str.split(" ").str[0]
    level = next((text for text in interval_names if text.endswith("%")), "95%")
    scaled.loc[in_points, "interval"] = f"{level} Fieller"
    return scaled


def is_share(table: pd.DataFrame) -> bool:
    """Whether the drops of a table are shares."""
    return DRAWN in table and bool(table[DRAWN].notna().any())


def drop_label(table: pd.DataFrame) -> str:
    """The name and unit of the axis for a table's drops."""
    if is_share(table):
        return str(table[DRAWN].dropna().iloc[0])
    return f"Drop ({unit})" if (unit := unit_of(table)) else "Drop"


def unit_of(table: pd.DataFrame) -> str:
    """The unit of the values of a table, in words; empty if it has several or none."""
    if table["unit"].eq("points").all():
        return "points"
    units = {UNITS.get(str(metric), "") for metric in table["metric"]}
    return units.pop() if len(units) == 1 else ""
