"""The models that come with the package; listing them loads nothing."""

from pathlib import Path


def data_folder() -> Path:
    """The folder with the shipped organisms and their task rows.

    Returns:
        `interp/data` in an installed package, or `data` beside `interp` in a checkout.
    """
    package = Path(__file__).resolve().parent.parent
    inside, beside = package / "data", package.parent / "data"
    return inside if inside.is_dir() else beside


def organisms() -> dict[str, Path]:
    """The folders of the shipped models, by name (`organism:NAME`).

    Returns:
        One entry per organism, sorted by name.
    """
    folder = data_folder() / "models"
    folders = sorted(p.parent for p in folder.glob("*/config.json"))
    return {f"organism:{p.name}": p for p in folders}
