"""A run's folder: made once, and opened again only for this very run."""

from collections.abc import Sequence
from pathlib import Path

from interp.errors import UserError
from interp.records.comparing import ALLOWABLE, Difference, differences
from interp.records.files import refuse_links_out, remove_parts, write_whole
from interp.records.manifest import (
    MANIFEST,
    UNITS,
    AcceptedDifference,
    Manifest,
    read_manifest,
)


def open_or_make(folder: Path, manifest: Manifest) -> Manifest:
    """Make a run's folder, or read the manifest of the run that is in it.

    Args:
        folder: the folder of the run.
        manifest: what is written where there is no run.

    Returns:
        The manifest that is on disk, of this run or of any other.

    Raises:
        UserError: the folder holds something that is no run.
        OSError: the folder cannot be written.
    """
    path = folder / MANIFEST
    if not path.is_file():
        own_names = (UNITS, MANIFEST)
        foreign = not folder.is_dir() or any(
            p.name not in own_names and not p.name.startswith((".lock", f".{MANIFEST}."))
            for p in folder.iterdir()
        )
        if folder.exists() and foreign:
            raise UserError(f"out {folder}: it is not empty and holds no run; give another folder")
        refuse_links_out(folder / UNITS, folder)
        (folder / UNITS).mkdir(parents=True, exist_ok=True)
        remove_parts(folder, MANIFEST)
        # another process of the same run may have been first: then its manifest is compared
        if write_whole(path, manifest.to_json().encode(), replace=False):
            return manifest
    refuse_links_out(folder / UNITS, folder)
    return read_manifest(folder)


def open_store(folder: Path, manifest: Manifest, *, allow: Sequence[str] = ()) -> Manifest:
    """Make a run's folder, or check that the one that is there holds this very run.

    Args:
        folder: the folder of the run.
        manifest: what is asked.
        allow: names of differences that are accepted (`libraries.torch`); each is written to the
            manifest under `allowed`.

    Returns:
        The manifest that is on disk.

    Raises:
        UserError: the folder holds another run, or something that is no run.
        OSError: the folder cannot be written.
    """
    kept = open_or_make(folder, manifest)
    noted = with_accepted(folder, kept, differences(kept, manifest), allow=allow)
    if noted != kept:
        write_whole(folder / MANIFEST, noted.to_json().encode())
    return noted


def with_accepted(
    folder: Path, kept: Manifest, found: Sequence[Difference], *, allow: Sequence[str] = ()
) -> Manifest:
    """A run's manifest with the differences noted that the user allowed.

    Args:
        folder: the folder of the run, for messages.
        kept: the manifest that is in it.
        found: what a request has other than it.
        allow: names of differences that are accepted.

    Returns:
        The manifest; the same one where nothing new was accepted.

    Raises:
        UserError: a difference that was not allowed, or that never is.
    """
    accepted = [d for d in found if d.name in allow]
    _refuse(folder, [d for d in found if d not in accepted])
    _refuse_forbidden(folder, accepted)
    return _with_allowed(kept, accepted) if accepted else kept


def _refuse(folder: Path, found: Sequence[Difference]) -> None:
    if not found:
        return
    shown = "; ".join(difference.words for difference in found[:3])
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    allowable = [difference.name for difference in found if difference.allowable]
    advice = f", or --allow {' '.join(allowable)}" if len(allowable) == len(found) else ""
    raise UserError(
        f"out {folder}: it holds another run ({shown}{more}); give another folder{advice}"
    )


def _refuse_forbidden(folder: Path, accepted: Sequence[Difference]) -> None:
    for difference in accepted:
        if not difference.allowable:
            raise UserError(
                f"out {folder}: --allow {difference.name}: answers would be mixed; allowed to "
                f"differ are {', '.join(ALLOWABLE)}"
            )


def _with_allowed(kept: Manifest, accepted: Sequence[Difference]) -> Manifest:
    noted = list(kept.allowed)
    for difference in accepted:
        note = AcceptedDifference(
            name=difference.name, there=difference.there, asked=difference.asked
        )
        if note not in noted:
            noted.append(note)
    return kept.model_copy(update={"allowed": tuple(noted)})
