"""The sweeps that the experiments share: each is one task under one family of ablations.

Each sweep has a folder of its own, so that a sweep that two experiments need is run once. A
finished sweep with the same request is opened without the model.
"""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.presets import Preset

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

    from interp.ablations import Ablation
    from interp.results import Sweep

SMALL = 100_000_000
"""The size in bytes below which a file of weights is read to see whether it changed."""

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@dataclass(frozen=True)
class Job:
    """One task under one family of ablations in one model, or one reading of it.

    Attributes:
        role: the role of the model.
        task: the task as the preset names it.
        family: a name in `FAMILIES`, or another name for what an experiment runs by itself.
        donor: the role of the donor, for swaps.
        ablations: the number of ablations, if the family does not say.
    """

    role: str
    task: str
    family: str
    donor: str | None = None
    ablations: int | None = None


def _layers(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
    from interp import each_layer

    return each_layer(model)


def _heads(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
    from interp import each_head

    return each_head(model, by="zero")


def _attentions(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
    from interp import each_attention

    return each_attention(model)


def _swaps(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
    from interp import each_swap

    return each_swap(model, donor)


def _cumulative(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
    from interp import cumulative

    return cumulative(model)


def _swap_curves(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
    from interp.comparison import swap_ablations

    return swap_ablations(model, donor)


def _of(*families: str) -> 'Callable[["TransformerBridge", Any], "list[Ablation]"]':
    """Several families in one sweep, so that they are paired over examples."""

    def make(model: "TransformerBridge", donor: Any) -> "list[Ablation]":
        from interp.ablations import as_ablations

        return list(as_ablations(model, families))

    return make


_PATCHES = _of(
    "patches:resid@changed", "patches:resid@last", "patches:attn@last", "patches:mlp@last"
)
PAIRED = {
    "patches-gold": "gold",
    "patches-key": "key",
    "patches-person": "person",
    "contradicted": "gold",
}
"""The families that run on pairs of prompts (`interp.twins`), and what differs in a pair."""

FAMILIES: dict[str, Callable[["TransformerBridge", Any], "list[Ablation]"]] = {
    "layers": _layers,
    "attentions": _attentions,
    "heads": _heads,
    "swaps": _swaps,
    "cumulative": _cumulative,
    "swap-curves": _swap_curves,
    "programs": _of("exchanges", "repeats", "parallels"),
    "scopes": _of("layers", "layers@@prompt", "layers@@answer"),
    "replacements": _of("layers", "layers@mean", "layers@resample", "layers@linear"),
    "pairs": _of("layers", "pairs:layers"),
    "patches-gold": _PATCHES,
    "patches-key": _PATCHES,
    "patches-person": _PATCHES,
    "contradicted": _of("layers", "mlps", "heads@mean"),
    "cuts": _of("cuts:1@answering/gold", "cuts:2@answering/gold", "cuts:2@answering/distractors"),
}
"""For each family, by name, a function of model and donor that makes it."""


def finished(preset: Preset, out: Path, job: Job) -> "Sweep":
    """The sweep of a job: opened if it is finished, otherwise completed or run.

    Args:
        preset: models, tasks, limits.
        out: folder of the experiments; the sweep is in a folder of its own below `sweeps`.
        job: the job to run.

    Returns:
        The finished sweep.

    Raises:
        UserError: as `interp.sweep`.
    """
    import interp

    folder, asked = folder_of(preset, out, job), _asked(preset, job)
    note = folder / "asked.json"
    if note.is_file() and json.loads(note.read_text()) == asked:
        return interp.open_run(folder)
    run = _swept(preset, folder, job)
    note.write_text(json.dumps(asked, indent=1) + "\n")
    return run


def share(preset: Preset, out: Path, jobs: list[Job], shard: str) -> int:
    """Run one shard of every sweep; other processes run the other shards.

    Readings that are not sweeps (a lens, a trace, a curve in an order that a sweep gives) are left
    to the call without a shard, which finds the sweeps finished.

    Args:
        preset: models, tasks, limits.
        out: the folder of the experiments, the same for all shards.
        jobs: the jobs of all experiments; shared jobs are run once.
        shard: `"3/16"`, as for `interp.sweep`.

    Returns:
        The number of sweeps.

    Raises:
        UserError: as `interp.sweep`.
    """
    # ordered by model, so that each is loaded once
    sweeps = {folder_of(preset, out, job): job for job in jobs if job.family in FAMILIES}
    for folder in sorted(sweeps):
        note = folder / "asked.json"
        if note.is_file() and json.loads(note.read_text()) == _asked(preset, sweeps[folder]):
            continue
        _swept(preset, folder, sweeps[folder], shard=shard)
    return len(sweeps)


def _swept(preset: Preset, folder: Path, job: Job, *, shard: str | None = None) -> "Sweep":
    import interp
    from experiments.stated import stated
    from interp.tasks import load_task

    task = load_task(job.task, data=preset.data)
    model = preset.load(job.role)
    donor = preset.load(job.donor) if job.donor else None
    limit: int | None = preset.limit(job.task, job.family)
    ablations = FAMILIES[job.family](model, donor)
    if job.family in PAIRED:
        # the limit is a number of pairs, each of which has two rows
        by = PAIRED[job.family]
        task = stated(task) if job.family == "contradicted" else task
        task, limit = interp.twins(model, task, by=by, limit=limit, seed=preset.seed), None
    return interp.sweep(
        model, task, ablations, out=folder, limit=limit, seed=preset.seed, shard=shard
    )


def scores(preset: Preset, out: Path, jobs: list[Job]) -> pd.DataFrame:
    """The scores of several jobs, one table (`interp.stats.scores`)."""
    return _tables(preset, out, jobs, "scores", lambda run: run.scores())


def importance(preset: Preset, out: Path, jobs: list[Job]) -> pd.DataFrame:
    """The paired drops of several jobs, one table (`interp.stats.importance`)."""
    return _tables(preset, out, jobs, "importance", lambda run: run.importance())


def gains(preset: Preset, out: Path, jobs: list[Job]) -> pd.DataFrame:
    """The values of several jobs, in which larger is always better (`Sweep.gains`)."""
    return pd.concat([finished(preset, out, job).gains() for job in jobs], ignore_index=True)


def values(preset: Preset, out: Path, jobs: list[Job]) -> pd.DataFrame:
    """The values of several jobs, example by example, one table (`interp.stats`)."""
    return pd.concat([finished(preset, out, job).values() for job in jobs], ignore_index=True)


def _tables(
    preset: Preset, out: Path, jobs: list[Job], name: str, make: Callable[["Sweep"], pd.DataFrame]
) -> pd.DataFrame:
    """A table of each job, kept beside its sweep as long as the sweep does not change."""
    found = []
    for job in jobs:
        run = finished(preset, out, job)
        kept = run.folder / f"{name}.parquet"
        manifest = hashlib.sha256((run.folder / "manifest.json").read_bytes()).hexdigest()
        table = pd.read_parquet(kept) if kept.is_file() else None
        if table is None or table.attrs.get("manifest") != manifest:
            table = make(run)
            table.attrs["manifest"] = manifest
            # another process may read the table, or make the same one
            unfinished = kept.with_suffix(f".{os.getpid()}")
            table.to_parquet(unfinished)
            unfinished.replace(kept)
        found.append(table)
    for table in found:
        table.attrs = {}
    return pd.concat(found, ignore_index=True)


@lru_cache
def weights_stamp(name: str | None) -> str | None:
    """A stamp of the weights in a folder, which shows whether they changed; None for a hub name.

    It is the hash of small weights. For large ones, which would take minutes to read, it is their
    size and time. A continued run is also checked against the hash in the sweep's manifest.
    """
    from interp.models import organisms

    if name is None:
        return None
    folder = organisms().get(name) or Path(name).expanduser()
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return None
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        small = status.st_size < SMALL
        digest.update(
            file.read_bytes() if small else repr((status.st_size, status.st_mtime_ns)).encode()
        )
    return digest.hexdigest()


def folder_of(preset: Preset, out: Path, job: Job) -> Path:
    """The folder of a job's sweep, in the folder of the experiments."""
    model = plain(preset.models[job.role])
    donor = f"-from-{plain(preset.models[job.donor])}" if job.donor else ""
    return out / "sweeps" / model / f"{plain(Path(job.task).stem)}-{job.family}{donor}"


def plain(name: str) -> str:
    """The name of a model or task as the name of a folder."""
    return name.removeprefix("organism:").replace("/", "-").replace(":", "-")


def _asked(preset: Preset, job: Job) -> dict[str, Any]:
    """Everything that decides the answers of a sweep."""
    names = [preset.models[role] for role in (job.role, job.donor) if role]
    return asdict(job) | {
        "weights": [weights_stamp(name) for name in names],
        "role": preset.models[job.role],
        "donor": preset.models[job.donor] if job.donor else None,
        "task": Path(job.task).name,
        "limit": preset.limit(job.task, job.family),
        "dtype": preset.dtype,
        "seed": preset.seed,
        "data": str(preset.data) if preset.data else None,
    }


def reading(
    preset: Preset,
    out: Path,
    name: str,
    asked: dict[str, Any],
    make: Callable[[], dict[str, pd.DataFrame]],
) -> dict[str, pd.DataFrame]:
    """The tables of a reading (a trace, a lens): read if they are there, otherwise made.

    Args:
        preset: the preset; its dtype, seed and data also decide the tables.
        out: the folder of the experiments; the tables have a folder of their own below `readings`.
        name: the name of that folder.
        asked: everything else that decides the tables: models, tasks, limits.
        make: a function that makes the tables.
    """
    folder = out / "readings" / plain(name)
    note = folder / "asked.json"
    asked = json.loads(json.dumps(asked)) | {
        "dtype": preset.dtype,
        "seed": preset.seed,
        "data": str(preset.data) if preset.data else None,
        "weights": [weights_stamp(name) for name in asked.get("models", [asked.get("model")])],
    }
    if note.is_file():
        held = json.loads(note.read_text())
        if held["asked"] == asked:
            return {one: pd.read_parquet(folder / f"{one}.parquet") for one in held["tables"]}
    tables = make()
    folder.mkdir(parents=True, exist_ok=True)
    for one, table in tables.items():
        table.reset_index(drop=True).to_parquet(folder / f"{one}.parquet")
    # the note is written last: without it the tables are made again
    note.write_text(json.dumps({"asked": asked, "tables": list(tables)}, indent=1) + "\n")
    return tables
