"""Tables as CSV that a spreadsheet reads as data, never as formulas."""

import pandas as pd

from interp.stats import check_columns

FORMULA = ("=", "+", "@", "-", "\t", "\r")
"""The characters that a spreadsheet takes for the start of a formula."""


def plain_cell(text: str) -> str:
    """The text, after an apostrophe where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(FORMULA) and not _is_number(text) else text


def plain_cells(table: pd.DataFrame) -> pd.DataFrame:
    """A table without text that a spreadsheet takes for a formula, column names included."""
    plain = table.rename(columns=lambda name: plain_cell(str(name)))
    for name in plain.columns:
        if not pd.api.types.is_numeric_dtype(plain[name].dtype):
            plain[name] = [plain_cell(v) if isinstance(v, str) else v for v in plain[name]]
    return plain


def csv_text(table: pd.DataFrame, *, neutral: bool = True) -> str:
    """A table as CSV.

    Args:
        table: any table.
        neutral: put an apostrophe before texts that begin as a formula does.

    Returns:
        The text, with a header line and without the index.
    """
    check_columns("table", table, ())
    text: str = (plain_cells(table) if neutral else table).to_csv(index=False)
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
