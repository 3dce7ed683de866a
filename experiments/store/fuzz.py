"""Bad inputs of every kind: each must be a one-line error, with no traceback and nothing written.

    python -m experiments.store.fuzz --inputs 50000 --counts experiments/store/fuzz.json
    python -m experiments.store.fuzz --only shards --inputs 5000 --seconds 300 --seed 7

Command lines, ablation texts, task YAMLs, manifests and shards, and what strangers give
(`hostile.py`: model folders, rows, templates, option values, code), made by hypothesis from a
seed; and the same drawn by a plain generator, many times as fast (`plain_kinds.py`,
`whole_requests.py`), with public calls (`doors.py`). An input that happens to be good is counted
as accepted. With `--counts` each chunk of inputs is added to the file, and the same command
continues with the seeds that follow.
"""

import argparse
import contextlib
import io
import json
import math
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import yaml
from hypothesis import HealthCheck, given, seed, settings, strategies as st
from tqdm import tqdm

from experiments.store import doors, hostile, plain_kinds, whole_requests
from experiments.store.inputs import ablation_texts, command_lines, mutated
from experiments.store.reports import OUT, write_result
from experiments.store.tiny_model import write_model, write_task
from interp.errors import UserError

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

SHARES = {
    "ablation texts": 4, "task YAMLs": 1, "command lines": 1, "manifests": 1, "shards": 2,
    "model folders": 1, "rows": 1, "templates": 2, "option values": 2, "code": 1,
    "task YAMLs, planned": 30, "command lines, planned": 60, "rows, planned": 40,
    "code, planned": 20, "option values, planned": 60, "model folders, drawn": 12,
    "model files": 12, "manifests, shown": 8, "results, shown": 10, "ablation texts, parsed": 200,
    "manifests, read": 150, "shards, verified": 150, "shards, forged": 20, "rows, rendered": 100,
    "templates, rendered": 130, "doors": 7,
}  # fmt: skip
"""How many of a thousand inputs are of each kind: many of those that cost little."""

NOT_RUN = "the request is good, and is not run here"

CHUNK = 250
"""Inputs from one seed, at most; of a kind of few inputs a tenth of them."""

Check = Callable[[Any], bool]
"""Refuses an input by UserError (False), accepts it (True), or raises: a defect."""

Strategy = st.SearchStrategy[Any] | plain_kinds.Draw


class Planned(UserError):
    """A request was found good; nothing of it is run."""


def run(
    inputs: int,
    out: Path,
    *,
    seed_: int = 0,
    only: str | None = None,
    tell: bool = True,
    seconds: float = math.inf,
    counts: Path | None = None,
) -> dict[str, Any]:
    """Try so many inputs of all kinds (`SHARES`), or of the one kind that is named.

    Args:
        inputs: at most.
        out: folder of the result.
        seed_: the seed  of the first chunk of each kind; each further chunk has the next one.
        only: one kind.
        tell: show progress.
        seconds: at most so long a kind; a chunk that is begun is finished.
        counts: file to which every finished chunk is added, and from which a run that was
            interrupted goes on: what is counted there is not tried again.

    Returns:
        For each kind: `tried`, `refused`, `accepted`, `seconds`, `chunks`; `defects` (hypothesis
        stops a kind at its first and makes it small; of a plain kind all of a chunk);
        `files_outside`, what was written beside the folder in which the inputs were tried.
    """
    result: dict[str, Any] = {"inputs": inputs, "seed": seed_, "kinds": {}, "defects": {}}
    if counts and counts.is_file():
        result |= json.loads(counts.read_text())
    with tempfile.TemporaryDirectory() as home:
        scratch = Path(home) / "scratch"
        scratch.mkdir()
        with contextlib.chdir(scratch):
            kinds = {k: v for k, v in _kinds(scratch).items() if only in (None, k)}
            # what costs little comes first: a run that is interrupted has tried most
            order = sorted(kinds, key=lambda name: -SHARES[name])
            for name in tqdm(order, disable=not tell):
                strategy, check = kinds[name]
                share = SHARES[name] / sum(SHARES[k] for k in kinds)
                wanted, start = max(1, round(inputs * share)), time.monotonic()
                found = result["kinds"].setdefault(name, dict.fromkeys(COUNTED, 0))
                result["defects"].pop(name, None)
                while found["tried"] < wanted and name not in result["defects"]:
                    if time.monotonic() - start > seconds:
                        break
                    most = min(CHUNK, max(1, wanted // 10), wanted - found["tried"])
                    _try_chunk(name, (strategy, check), most, result)
                    result["files_outside"] = sorted(
                        p.name for p in Path(home).iterdir() if p != scratch
                    )
                    if counts:
                        counts.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    result["tried"] = sum(kind["tried"] for kind in result["kinds"].values())
    if counts:
        counts.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    else:
        write_result(result, out, "fuzz")
    return result


COUNTED = ("tried", "refused", "accepted", "seconds", "chunks")


def _try_chunk(name: str, kind: "Kind", most: int, result: dict[str, Any]) -> None:
    """Try a chunk of inputs; a defect is noted, and its chunk is counted."""
    found, start = result["kinds"][name], time.process_time()
    defect = _try(*kind, most, result["seed"] + found["chunks"], found)
    found["chunks"] += 1
    found["seconds"] = round(found["seconds"] + time.process_time() - start, 1)
    if defect:
        result["defects"][name] = defect


def _try(
    strategy: Strategy, check: Check, count: int, seed_: int, counts: dict[str, Any]
) -> str | None:
    if not isinstance(strategy, st.SearchStrategy):
        return _try_plainly(strategy, check, count, seed_, counts)

    @seed(seed_)
    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(strategy)
    def attempt(value: Any) -> None:
        counts["tried"] += 1
        counts["accepted" if check(value) else "refused"] += 1

    try:
        attempt()
    except Exception as group:
        error = group.exceptions[0] if isinstance(group, ExceptionGroup) else group
        return f"{type(error).__name__}: {error} {' '.join(getattr(error, '__notes__', []))}"[:600]
    return None


def _try_plainly(
    draw: plain_kinds.Draw, check: Check, count: int, seed_: int, counts: dict[str, Any]
) -> str | None:
    rng, found = random.Random(seed_), dict[str, str]()
    for _ in range(count):
        value = draw(rng)
        counts["tried"] += 1
        try:
            counts["accepted" if check(value) else "refused"] += 1
        except Exception as error:
            # the others that a chunk finds are worth knowing at once
            said = f"{type(error).__name__}: {error}"
            found.setdefault(said[:80], f"{said} by {value!r}"[:600])
    return "\n".join(found.values()) or None


Kind = tuple[Strategy, Check]
Kinds = dict[str, Kind]


def _kinds(folder: Path) -> Kinds:
    import interp

    model, task = write_model(folder / "model"), write_task(folder / "task", rows=4)
    bridge = interp.load_model(model, device="cpu")
    finished = interp.sweep(bridge, str(task), ["layer:0"], out=folder / "run")
    out = folder / "out"

    def command(arguments: list[str]) -> bool:
        code = _main(arguments, {str(model): bridge})
        assert code == 0 or not _removed(out), "a refused command left a folder"
        _removed(out)
        return code == 0

    lines = command_lines(str(model), str(task), str(out))
    small = write_model(folder / "small", d_model=8, n_layers=2)
    whole = {
        **_text_kinds(bridge, task, folder),
        **_store_kinds(finished, out),
        "command lines": (lines, command),
        **hostile.kinds(small, task, folder, _accepted, bridge),
    }
    paths = {"model": model, "small": small, "task": task, "run": finished.folder, "out": out,
             "folder": folder}  # fmt: skip
    return {
        **whole,
        **whole_requests.kinds(bridge, whole, _planned, paths, _accepted),
        **plain_kinds.kinds(bridge, task, finished, folder, _accepted),
        "doors": doors.kind(bridge, model, task, finished, folder, _accepted),
    }


def _planned(check: Check) -> Check:
    """The same check, without running anything once a request was found good."""

    def stopped(*_: Any) -> None:
        raise Planned(NOT_RUN)

    def planned(value: Any) -> bool:
        with patch("interp.sweeps.run._carry_out", stopped):
            return check(value)

    return planned


def _text_kinds(bridge: Any, task: Path, folder: Path) -> Kinds:
    import interp
    from interp.ablations import checked_edits

    out = folder / "out"

    def ablation(text: str) -> bool:
        def action() -> None:
            assert interp.parse(interp.parse(text).text) == interp.parse(text)
            checked_edits(bridge, text)

        return _accepted(action)

    def yaml_file(document: Any) -> bool:
        path = folder / "bad.yaml"
        text = document if isinstance(document, str) else yaml.safe_dump(document)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        accepted = _accepted(lambda: interp.sweep(bridge, str(path), ["layer:0"], out=out, limit=1))
        left = _removed(out)
        assert accepted or not left, f"a refused task left a folder: {text!r}"
        return accepted

    return {
        "ablation texts": (ablation_texts, ablation),
        "task YAMLs": (mutated(yaml.safe_load(task.read_text())) | st.text(), yaml_file),
    }


def _store_kinds(finished: Any, out: Path) -> Kinds:
    from interp.records import MANIFEST, problem, read_manifest, shard_path

    target = finished.folder / MANIFEST
    manifest_text = target.read_text()
    (unit,) = finished.manifest.unit_names
    shard = shard_path(finished.folder, unit).read_bytes()

    def manifest(document: Any) -> bool:
        before = sorted(p.name for p in finished.folder.rglob("*"))
        target.write_text(json.dumps(document, default=repr))
        try:
            code = _main(["show", str(finished.folder)])
        finally:
            target.write_text(manifest_text)
        assert before == sorted(p.name for p in finished.folder.rglob("*")), "something was written"
        return code == 0

    def parquet(content: bytes) -> bool:
        target.write_text(manifest_text)
        shard_path(finished.folder, unit).write_bytes(content)
        good = problem(finished.folder, unit, read_manifest(finished.folder)) is None
        assert good == (content == shard), "a damaged shard was taken for a whole one"
        code = _main(["export", str(finished.folder), "--out", str(out)])
        left = _removed(out)
        shard_path(finished.folder, unit).write_bytes(shard)
        assert (code == 0) == good, "a damaged run was exported"
        assert good or not left, "a refused export left a folder"
        return good

    return {
        "manifests": (mutated(json.loads(manifest_text)), manifest),
        "shards": (_spoiled(shard), parquet),
    }


def _accepted(action: Callable[[], Any]) -> bool:
    """Whether an action succeeds; a UserError must be one line."""
    try:
        action()
    except Planned:
        return True
    except UserError as error:
        reason = str(error)
    else:
        return True
    assert "\n" not in reason, f"more than one line: {reason}"
    return False


def _spoiled(good: bytes) -> st.SearchStrategy[bytes]:
    positions = st.integers(0, len(good) - 1)
    flipped = st.tuples(positions, st.integers(1, 255)).map(
        lambda x: good[: x[0]] + bytes([good[x[0]] ^ x[1]]) + good[x[0] + 1 :]
    )
    cut = positions.map(lambda end: good[:end])
    shifted = st.tuples(positions, st.binary(max_size=9)).map(
        lambda x: good[: x[0]] + x[1] + good[x[0] :]
    )
    return flipped | cut | shifted | st.binary(max_size=200)


def _main(arguments: list[str], models: dict[str, Any] | None = None) -> int:
    """The command line in this process; models that are loaded already are not loaded again."""
    import interp.models
    from interp.cli import main

    plain, shown = interp.models.load_model, io.StringIO()

    def loaded(name: Any, **options: Any) -> Any:
        same = options.get("dtype", "float32") == "float32" and not options.get("device")
        return models[name] if models and name in models and same else plain(name, **options)

    interp.models.load_model = loaded
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(shown):
            code = main(arguments)
    except SystemExit as stop:  # argparse: help, or a usage error of its own
        code = int(stop.code or 0)
    finally:
        interp.models.load_model = plain
    if code not in (0, 2):
        raise AssertionError(f"exit status {code}")
    assert "Traceback" not in shown.getvalue()
    # what the library says on the way stands before the reason
    lines = shown.getvalue().splitlines()
    if code == 2 and not all(line.startswith(("interp: ", "usage: ")) for line in lines):
        raise AssertionError(f"more than one line: {shown.getvalue()}")
    return 0 if f"interp: {NOT_RUN}" in lines else code


def _removed(folder: Path) -> bool:
    """Remove a folder; whether it was there."""
    there = folder.exists()
    shutil.rmtree(folder, ignore_errors=True)
    return there


def main() -> None:
    """Run and print the result; exit with 1 where there is a defect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind, such as 'task YAMLs'")
    parser.add_argument("--seconds", type=float, default=math.inf, help="at most, of each kind")
    parser.add_argument("--counts", type=Path, help="file that is added to, and continued from")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    result = run(
        options.inputs,
        options.out.resolve(),
        seed_=options.seed,
        only=options.only,
        seconds=options.seconds,
        counts=options.counts and options.counts.resolve(),
    )
    print(json.dumps(result, indent=2))
    raise SystemExit(bool(result["defects"]))


if __name__ == "__main__":
    main()
