"""Join the parts of a run that several processes wrote, none missing and none double.

Parts are shares of one run (`--shard`), or runs of the same tasks and examples under other
ablations: then their ablations are added to those of the first run.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.dataset

from interp.errors import UserError, can_be_written, folder_given
from interp.records.extending import conflicts, extend_store
from interp.records.files import read_regular, write_whole
from interp.records.locks import locked
from interp.records.manifest import MANIFEST, Manifest, UnitEntry, read_manifest, shard_path
from interp.records.opening import open_store
from interp.records.schema import SCHEMA, Record
from interp.records.shards import problems, record_of_row, write_unit

log = logging.getLogger("interp")

MOST_ABLATIONS = 64
"""Of one unit that is made of the records of another run."""
MOST_DECIDED_OTHERWISE = 0.01
"""The share of examples whose baseline may differ between two runs: near ties, on two devices."""


@dataclass(frozen=True)
class _Whole:
    """One run, and where each of its units is.

    Attributes:
        folder: the first of its folders.
        manifest: the manifest of the run.
        paths: name of a unit to its shard.
    """

    folder: Path
    manifest: Manifest
    paths: dict[str, Path]

    def rows(self, task: str, texts: Sequence[str], doc_ids: Sequence[int]) -> list[Record]:
        """The records of some examples of a task under some ablations, by ablation and example."""
        number = [entry.name for entry in self.manifest.tasks].index(task)
        wanted, places = set(texts), self.manifest.texts
        paths = [
            str(self.paths[unit.name])
            for unit in self.manifest.units
            if unit.task == number
            and wanted & set(places[unit.ablations[0] : unit.ablations[1] + 1])
        ]
        field = pyarrow.dataset.field
        condition = field("ablation").isin(list(texts)) & field("doc_id").isin(list(doc_ids))
        table = pyarrow.dataset.dataset(paths, schema=SCHEMA, format="parquet").to_table(
            filter=condition
        )
        by_place = {(row["ablation"], row["doc_id"]): row for row in table.to_pylist()}
        return [record_of_row(by_place[text, i]) for text in texts for i in doc_ids]


def merge(folder: Path, parts: Sequence[Path]) -> int:
    """Bring the units of a run's parts together, after checking all of them.

    Args:
        folder: the folder of the whole run; may be new, or itself hold some of the units.
        parts: folders of other parts, none where all processes wrote to one folder. A part may be
            of a run with other ablations; those that the first run lacks are added to it.

    Returns:
        The number of units, all of them whole and there once.

    Raises:
        UserError: a part is of another run, a unit is missing or damaged everywhere, two parts
            hold different answers for it, or nothing can be written where something is to be.
            Nothing is written then.
        OSError: a folder cannot be read or written.
    """
    holders = [*([folder] if (folder / MANIFEST).is_file() else []), *parts]
    if not holders:
        raise UserError(f"run {folder}: no {MANIFEST} there, and no parts are given")
    groups: dict[str, list[Path]] = {}
    manifests = {holder: read_manifest(holder) for holder in holders}
    for holder, manifest in manifests.items():
        _same_examples(holders[0], manifests[holders[0]], holder, manifest)
        units = [unit.as_dict() for unit in manifest.units]
        groups.setdefault(f"{manifest.fingerprint()} {units}", []).append(holder)
    runs = [_whole(folder, names, manifests[names[0]]) for names in groups.values()]
    first, others = runs[0], runs[1:]
    for other in others:
        _same_baseline(first, other)
    grown = _joined([run.manifest for run in runs])
    there = (folder / MANIFEST).is_file()
    if there and not can_be_written(folder):
        held = all(path == shard_path(folder, name) for name, path in first.paths.items())
        if grown != manifests[folder] or not held:
            raise UserError(
                f"run {folder}: nothing can be written there, and its parts are elsewhere; "
                "copy it to another folder"
            )
        return len(grown.units)
    if there:
        with locked(folder):
            if not extend_store(folder, manifests[folder], grown):
                raise UserError(f"run {folder}: another process has changed it; merge again")
    else:
        open_store(folder_given("run", folder), grown)
    with locked(folder):
        _write(folder, grown, first, others)
    return len(grown.units)


def _write(folder: Path, grown: Manifest, first: _Whole, others: Sequence[_Whole]) -> None:
    """Copy the units of the first run; make those of the ablations that others add."""
    units_of_first, runs = set(first.paths), grown.unit_fingerprints()
    for name, path in first.paths.items():
        if path != shard_path(folder, name):
            write_whole(shard_path(folder, name), read_regular(path))
    holders = {text: run for run in reversed(others) for text in run.manifest.ablations}
    texts = grown.texts
    for unit in grown.units:
        if unit.name in units_of_first:
            continue
        task = grown.tasks[unit.task]
        doc_ids = task.doc_ids[unit.first : unit.first + unit.examples]
        records_of_unit: list[Record] = []
        for run, run_texts in _runs_of(texts[unit.ablations[0] : unit.ablations[1] + 1], holders):
            records_of_unit += run.rows(task.name, run_texts, doc_ids)
        write_unit(folder, unit.name, grown, records_of_unit, run=runs[unit.name])


def _runs_of(
    texts: Sequence[str], holders: dict[str, _Whole]
) -> Iterator[tuple[_Whole, list[str]]]:
    """Ablations in their order, those of one run together."""
    some: list[str] = []
    for place, text in enumerate(texts):
        some.append(text)
        if place + 1 == len(texts) or holders[texts[place + 1]] is not holders[text]:
            yield holders[text], some
            some = []


def _whole(folder: Path, holders: Sequence[Path], manifest: Manifest) -> _Whole:
    """A run with a whole shard for every unit, from any of its folders."""
    units = manifest.unit_names
    wrong = {holder: problems(holder, units, manifest) for holder in holders}
    chosen = {unit: _chosen(wrong, unit) for unit in units}
    shards = {unit: path for unit, path in chosen.items() if isinstance(path, Path)}
    lacking = [f"{unit} ({reason})" for unit, reason in chosen.items() if isinstance(reason, str)]
    if lacking:
        raise UserError(
            f"run {folder}: {len(lacking)} of {len(units)} units are missing or damaged: "
            f"{', '.join(lacking[:5])}{'...' if len(lacking) > 5 else ''}"
        )
    return _Whole(holders[0], manifest, shards)


def _same_examples(first: Path, kept: Manifest, part: Path, asked: Manifest) -> None:
    """Refuse a part that differs in more than its ablations."""
    words = [difference.words for difference in conflicts(kept, asked)]
    kept_names, asked_names = ({task.name for task in manifest.tasks} for manifest in (kept, asked))
    if not words and kept_names != asked_names:
        words = [
            f"tasks {', '.join(sorted(kept_names))} there, {', '.join(sorted(asked_names))} asked"
        ]
    if words:
        raise UserError(
            f"part {part}: it is of another run than {first} ({words[0]}; there is "
            f"{first}, asked is {part}); parts may differ in their ablations alone"
        )


def _same_baseline(first: _Whole, other: _Whole) -> None:
    """Refuse runs whose baselines differ in more than a few examples."""
    for task in first.manifest.tasks:
        first_rows, other_rows = (
            run.rows(task.name, ["baseline"], task.doc_ids) for run in (first, other)
        )
        differ = sum(not _alike(a, b) for a, b in zip(first_rows, other_rows, strict=True))
        words = (
            f"part {other.folder}: task {task.name}: its baseline differs from that of "
            f"{first.folder} in {differ} of {len(first_rows)} examples"
        )
        if differ > MOST_DECIDED_OTHERWISE * len(first_rows):
            raise UserError(f"{words}; it was computed otherwise, and drops would be mixed")
        if differ:
            log.warning("%s; the one of %s is kept", words, first.folder)


def _alike(one: Record, other: Record) -> bool:
    """Whether two records of one example have the same outcome, up to rounding."""
    if (one.failure, one.text) != (other.failure, other.text):
        return False
    pairs = [(value, other.metrics.get(name)) for name, value in one.metrics.items()]
    return all(b is not None and (a == b or abs(a - b) < 1e-3 or a != a) for a, b in pairs)


def _joined(manifests: Sequence[Manifest]) -> Manifest:
    """The first manifest with the ablations that the others have and it lacks."""
    first = manifests[0]
    texts = tuple(dict.fromkeys(text for manifest in manifests for text in manifest.ablations))
    if len(texts) == len(first.ablations):
        return first
    blocks: dict[tuple[int, int, int], list[UnitEntry]] = {}
    for unit in first.units:
        blocks.setdefault((unit.task, unit.first, unit.examples), []).append(unit)
    taken, units = set(first.unit_names), []
    for of_block in blocks.values():
        units += of_block
        stem, number = of_block[0].name.rpartition("-")[0] or of_block[0].name, len(of_block)
        for start in range(1 + len(first.ablations), 1 + len(texts), MOST_ABLATIONS):
            while f"{stem}-{number:03d}" in taken:
                number += 1
            name, last = f"{stem}-{number:03d}", min(start + MOST_ABLATIONS - 1, len(texts))
            taken.add(name)
            units.append(of_block[0].model_copy(update={"name": name, "ablations": (start, last)}))
    hooks = {
        text: code for manifest in reversed(manifests) for text, code in manifest.hooks.items()
    }
    donors = {
        text: names for manifest in reversed(manifests) for text, names in manifest.donors.items()
    }
    more = {"ablations": texts, "units": tuple(units), "hooks": hooks, "donors": donors}
    return first.model_copy(update=more)


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
