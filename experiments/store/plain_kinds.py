"""Kinds of `fuzz.py` that are cheap: drawn by a seeded generator, tried where an input is judged.

Nothing is loaded again that did not change, and no process is started: an input takes a
millisecond or two. A hypothesis strategy makes small what it finds, and takes ten times as long.
"""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

Check = Callable[[Any], bool]
Attempt = Callable[[Callable[[], Any]], bool]
Draw = Callable[[random.Random], Any]

PIECES = ["layer", "layers", "attn", "mlp", "head", "kvgroup", "swap", "repeat", "exchange",
          "reverse", "order", "parallel", "baseline", ":", "-", ".", "+", ",", "@", "@@", "mean",
          "zero", "resample", "prompt", "answer", "last", "0", "1", "2", "7", "99", "-1", " ",
          "\n", "\u0663", "1e3", "", "\x00", "\ud800", "9" * 30]  # fmt: skip
FORMS = ["layer:{}", "attn:{}", "mlp:{}@mean", "head:{}.{}", "head:{}.{}@resample", "kvgroup:{}.{}",
         "layers:{}-{}", "repeat:{}-{}", "exchange:{}", "parallel:{}-{}", "order:{},{},{}",
         "layer:{}@@prompt", "mlp:{}@@last"]  # fmt: skip
EXPRESSIONS = [
    "{{question}}", "{{choices}}", "{{gold}}", "{{choices[9]}}", "{{gold.x.y}}",
    "{{question|length}}", "{{question[::-1]}}", "{{ 2 ** 999999 }}", "{{ 1 // 0 }}",
    "{{ ''.__class__ }}", "{{ self.__init__ }}", "{% for c in choices %}{{c}}{% endfor %}",
    "{% if gold %}", "{% endif %}", "{{", "}}", "{% raw %}", "{% include 'x' %}",
    "{% import 'os' as o %}", "{{ range(9)|list }}", "{{ question|map }}", "{{ cycler }}",
    "{% set x = question %}{{ x * 3 }}", "{{ namespace(a=1) }}", "{{ none }}", "\x00",
]  # fmt: skip
HUGE = 10**30
SCALARS: list[Any] = [None, True, False, 0, 1, -1, 2, 7, 10**9, HUGE, -HUGE, 0.0, 0.5, -0.5, 1.5,
                      math.nan, math.inf, -math.inf, "", " ", "x", "acc", "layer:1", "0", "1/2",
                      "nan", "\n", "\ud800", "x" * 5000, "../x", "/dev/null", b"x"]  # fmt: skip


def anything(rng: random.Random, depth: int = 2) -> Any:
    """A value of no particular type, with lists and dictionaries to a depth."""
    chance = rng.random()
    if depth == 0 or chance < 0.7:
        return rng.choice(SCALARS)
    if chance < 0.85:
        return [anything(rng, depth - 1) for _ in range(rng.randint(0, 3))]
    keys = ["", "x", "acc", "task", "0"]
    return {rng.choice(keys): anything(rng, depth - 1) for _ in range(rng.randint(0, 3))}


def changed(value: Any, rng: random.Random) -> Any:
    """A document of JSON with one value replaced, lost or doubled, at any depth."""
    inner = rng.random() < 0.8
    if isinstance(value, dict) and value:
        found, key = dict(value), rng.choice(sorted(value))
        if inner:
            found[key] = changed(found[key], rng)
        elif rng.random() < 0.5:
            del found[key]
        else:
            found[rng.choice(["x", "schema", key + "x"])] = anything(rng)
        return found
    if isinstance(value, list) and value:
        items, place = list(value), rng.randrange(len(value))
        if inner:
            items[place] = changed(items[place], rng)
        elif rng.random() < 0.5:
            del items[place]
        else:
            items.append(items[place])
        return items
    if isinstance(value, str) and rng.random() < 0.3:
        return value[: rng.randint(0, len(value))] + rng.choice(["", "x", "\n", "/", "\x00"])
    if isinstance(value, int) and rng.random() < 0.5:
        return value + rng.choice([-1, 1, 10**6])
    return anything(rng)


def ablation_text(rng: random.Random) -> str:
    """Forms with numbers, or pieces of them in any order."""
    if rng.random() < 0.5:
        numbers = [rng.choice([0, 1, 2, 3, 9, -1, "01", "x"]) for _ in range(3)]
        return "+".join(rng.choice(FORMS).format(*numbers) for _ in range(rng.randint(1, 3)))
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 8)))


def kinds(
    bridge: Any, task: Path, finished: Any, folder: Path, attempt: Attempt
) -> dict[str, tuple[Draw, Check]]:
    """The cheap kinds: name to what draws an input and what tries it.

    Args:
        bridge: a model in memory.
        task: YAML of a task with options.
        finished: a run of one unit.
        folder: the folder for files.
        attempt: runs an action; True where it succeeds, False where a line refuses it.

    Returns:
        In the order in which they are tried.
    """
    return {
        "ablation texts, parsed": (ablation_text, _ablation_check(bridge, attempt)),
        "manifests, read": _manifests(finished, folder, attempt),
        "shards, verified": _shards(finished),
        "shards, forged": _forged(finished),
        "rows, rendered": _rows(bridge, task, attempt),
        "templates, rendered": _templates(bridge, task, attempt),
    }


def _ablation_check(bridge: Any, attempt: Attempt) -> Check:
    import interp
    from interp.ablations import checked_edits

    def action(text: str) -> None:
        assert interp.parse(interp.parse(text).text) == interp.parse(text)
        checked_edits(bridge, text)

    return lambda text: attempt(lambda: action(text))


def _manifests(finished: Any, folder: Path, attempt: Attempt) -> tuple[Draw, Check]:
    from interp.records import MANIFEST, read_manifest
    from interp.records.comparing import differences
    from interp.results import run_line

    good = json.loads((finished.folder / MANIFEST).read_text())
    place = folder / "read"
    place.mkdir(exist_ok=True)

    def draw(rng: random.Random) -> Any:
        value = good
        for _ in range(rng.randint(1, 3)):
            value = changed(value, rng)
        return value

    def action() -> None:
        manifest = read_manifest(place)
        run_line(place, manifest)
        differences(finished.manifest, manifest)
        assert read_manifest(place).fingerprint() == manifest.fingerprint()

    def check(value: Any) -> bool:
        (place / MANIFEST).write_text(json.dumps(value, default=repr))
        return attempt(action)

    return draw, check


def _shards(finished: Any) -> tuple[Draw, Check]:
    from interp.records import problem, shard_path

    (unit,) = finished.manifest.unit_names
    path = shard_path(finished.folder, unit)
    good = path.read_bytes()

    def draw(rng: random.Random) -> bytes:
        at, how = rng.randrange(len(good)), rng.randrange(4)
        if how == 0:
            return good[:at] + bytes([good[at] ^ rng.randint(1, 255)]) + good[at + 1 :]
        if how == 1:
            return good[:at]
        if how == 2:
            return good[:at] + rng.randbytes(rng.randint(1, 9)) + good[at:]
        return rng.randbytes(rng.randint(0, 200))

    def check(content: bytes) -> bool:
        path.write_bytes(content)
        found = problem(finished.folder, unit, finished.manifest)
        path.write_bytes(good)
        assert (found is None) == (content == good), "a damaged shard was taken for a whole one"
        assert found is None or "\n" not in found
        return found is None

    return draw, check


def _forged(finished: Any) -> tuple[Draw, Check]:
    """Shards of other records with a hash of their own: what only the records themselves tell."""
    from dataclasses import replace

    from interp.records import Record, problem, read_units, shard_path, write_unit

    (unit,) = finished.manifest.unit_names
    path = shard_path(finished.folder, unit)
    good = path.read_bytes()
    rows = read_units(finished.folder, [unit]).to_pylist()
    known = [Record(**(row | {"metrics": dict(row["metrics"])})) for row in rows]

    def draw(rng: random.Random) -> list[Any]:
        records, at = list(known), rng.randrange(len(known))
        how = rng.choice(["lost", "doubled", "swapped", "ablation", "task", "model", "doc_id"])
        if how == "lost":
            del records[at : at + rng.randint(1, 3)]
        elif how == "doubled":
            records.insert(rng.randrange(len(records)), records[at])
        elif how == "swapped":
            records[at], records[at - 1] = records[at - 1], records[at]
        elif how == "doc_id":
            records[at] = replace(
                records[at], doc_id=records[at].doc_id + rng.choice([-9, 1, 10**6])
            )
        else:
            other: dict[str, Any] = {how: rng.choice(["", "x", "layer:2", "a\nb"])}
            records[at] = replace(records[at], **other)
        return records

    def check(records: list[Any]) -> bool:
        write_unit(finished.folder, unit, finished.manifest, records)
        found = problem(finished.folder, unit, finished.manifest)
        path.write_bytes(good)
        assert found is not None, "other records were taken for those of the unit"
        assert "\n" not in found
        return False

    return draw, check


def _rows(bridge: Any, task: Path, attempt: Attempt) -> tuple[Draw, Check]:
    import interp
    from interp.models import decoder
    from interp.tasks import Task, checked_requests

    loaded, found = interp.load_task(str(task)), decoder(bridge)
    good = loaded.documents()

    def draw(rng: random.Random) -> list[Any]:
        rows = [dict(row) for row in good]
        for _ in range(rng.randint(1, 3)):
            row = rng.choice(rows)
            field = rng.choice([*good[0], "new"])
            if rng.random() < 0.15:
                row.pop(field, None)
            else:
                row[field] = changed(row[field], rng) if field in row else anything(rng)
        return rows

    def check(rows: list[Any]) -> bool:
        documents = patch.object(Task, "documents", lambda _: rows)
        # the place of a row is looked up in the file, which does not change here
        with documents, patch("interp.tasks.checking._place", lambda _, row: f"row {row}"):
            return attempt(lambda: checked_requests(loaded, range(len(rows)), found))

    return draw, check


def _templates(bridge: Any, task: Path, attempt: Attempt) -> tuple[Draw, Check]:
    import interp
    from interp.models import decoder
    from interp.tasks import checked_requests

    loaded, found = interp.load_task(str(task)), decoder(bridge)
    config = loaded._harness.config

    def draw(rng: random.Random) -> tuple[str, str]:
        field = rng.choice(["doc_to_text", "doc_to_target", "doc_to_choice"])
        return field, "".join(
            rng.choice([*EXPRESSIONS, "a", " ", "\n"]) for _ in range(rng.randint(1, 4))
        )

    def check(value: tuple[str, str]) -> bool:
        field, template = value
        with patch.object(config, field, template):
            return attempt(lambda: checked_requests(loaded, [0], found))

    return draw, check
