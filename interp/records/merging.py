"""Join the parts of a run that several processes wrote, none missing and none double."""

from collections.abc import Sequence
from pathlib import Path

from interp.errors import UserError
from interp.records.comparing import differences
from interp.records.files import read_regular, write_whole
from interp.records.locks import locked
from interp.records.manifest import MANIFEST, Manifest, read_manifest, shard_path
from interp.records.opening import open_store
from interp.records.shards import problems


def merge(folder: Path, parts: Sequence[Path]) -> int:
    """Bring the units of a run's parts together, after checking all of them.

    Args:
        folder: of the whole run; may be new, or itself hold some of the units.
        parts: folders of other parts, none where all processes wrote to one folder.

    Returns:
        The number of units, all of them whole and there once.

    Raises:
        UserError: a part is of another run, a unit is missing or damaged everywhere, or two parts
            hold different answers for it. Nothing is written then.
        OSError: a folder cannot be read or written.
    """
    holders = [*([folder] if (folder / MANIFEST).is_file() else []), *parts]
    if not holders:
        raise UserError(f"run {folder}: no {MANIFEST} there, and no parts are given")
    manifest = read_manifest(holders[0])
    for part in holders[1:]:
        _same_run(holders[0], manifest, part)
    units = manifest.unit_names
    wrong = {holder: problems(holder, units, manifest) for holder in holders}
    chosen = {unit: _chosen(wrong, unit) for unit in units}
    found = {unit: path for unit, path in chosen.items() if isinstance(path, Path)}
    lacking = [f"{unit} ({why})" for unit, why in chosen.items() if isinstance(why, str)]
    if lacking:
        raise UserError(
            f"run {folder}: {len(lacking)} of {len(units)} units are missing or damaged: "
            f"{', '.join(lacking[:5])}{'...' if len(lacking) > 5 else ''}"
        )
    open_store(folder, manifest)
    with locked(folder):
        for unit, path in found.items():
            if path != shard_path(folder, unit):
                write_whole(shard_path(folder, unit), read_regular(path))
    return len(units)


def _same_run(first: Path, manifest: Manifest, part: Path) -> None:
    found = differences(manifest, read_manifest(part))
    if found:
        raise UserError(
            f"part {part}: it is of another run than {first} ({found[0].words}; there is "
            f"{first}, asked is {part})"
        )


def _chosen(wrong: dict[Path, dict[str, str]], unit: str) -> Path | str:
    """The one shard of a unit, or what is wrong with it.

    Args:
        wrong: the problems of each holder.
        unit: its name.

    Raises:
        UserError: two parts hold different answers.
    """
    reasons = [(holder, found.get(unit)) for holder, found in wrong.items()]
    whole = [shard_path(holder, unit) for holder, reason in reasons if reason is None]
    if not whole:
        telling = [f"{reason} in {h}" for h, reason in reasons if reason and reason != "missing"]
        return telling[0] if telling else "missing"
    first = read_regular(whole[0])
    for other in whole[1:]:
        if read_regular(other) != first:
            raise UserError(
                f"unit {unit}: {whole[0]} and {other} hold different records of it; remove one"
            )
    return whole[0]
