"""`interp.vary`: the same sweep asked in several ways, each a run; opened again later."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import transformers
from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.comparison.evenness import drawn, refuse_uneven
from interp.comparison.variation import Variation, published_name
from interp.errors import UserError, first_line, path_given
from interp.models import given_model
from interp.results import Sweep
from interp.sweeps import (
    UNIT_ABLATIONS,
    UNIT_EXAMPLES,
    Ablations,
    check_ahead,
    loaded_tasks,
    refuse_options,
    sweep,
)
from interp.tasks import PUBLISHED, WAYS, Task, as_chat, asked_as, way_names

FILE = "variation.json"


def vary(
    model: TransformerBridge | transformers.PreTrainedModel | str | Path,
    tasks: Sequence[str | Path | Task] | str | Path | Task,
    ablations: Ablations,
    *,
    out: str | Path,
    fewshot_seeds: int = 1,
    fewshot_orders: int = 1,
    wordings: int = 1,
    option_orders: int = 1,
    limit: int | None = None,
    seed: int = 0,
    donor: TransformerBridge | None = None,
    num_fewshot: int | None = None,
    fewshot_seed: int | None = None,
    data: str | Path | None = None,
    chat_template: bool = False,
    allow_code: bool = False,
    cluster: str | None = None,
    divergence: bool = False,
    shard: str | None = None,
    allow: Sequence[str] = (),
    unit_examples: int = UNIT_EXAMPLES,
    unit_ablations: int = UNIT_ABLATIONS,
    token_budget: int | None = None,
    ray: str | None = None,
    workers: int | None = None,
) -> Variation:
    """Run a sweep as its tasks are published, and again in other ways of asking the same questions.

    Each way is a run of its own, in `out/WAY` (`out/published`, `out/fewshot-seed-1`, ...); the
    same call continues an interrupted one, and a call for more ways keeps those that are there.
    Only one thing is varied at a time. See `interp.tasks.asked_as` for what each way changes.

    Args:
        model: as for `interp.sweep`.
        tasks: as for `interp.sweep`; every task must have all of the ways.
        ablations: as for `interp.sweep`.
        out: folder of the runs.
        fewshot_seeds: the number of draws of few-shot examples, including the published one; 1
            varies nothing.
        fewshot_orders: the number of orders of the few-shot examples.
        wordings: the number of templates of the question, from the task's YAML (`metadata:
            {wordings: []}`).
        option_orders: the number of orders of the options, each the one before rotated by one
            place.
        limit: at most this many examples per task, the same under every way.
        seed: seed of the draw, and of every bootstrap.
        donor: as for `interp.sweep`.
        num_fewshot: as for `interp.sweep`.
        fewshot_seed: the seed of the published way's few-shot examples.
        data: as for `interp.sweep`.
        chat_template: whether tasks that generate are asked through the model's chat template.
        allow_code: as for `interp.sweep`.
        cluster: as for `interp.sweep`.
        divergence: as for `interp.sweep`.
        shard: such as `"3/16"`: only this part of every way's units. When no unit is missing any
            more, the same call without `shard` completes the variation.
        allow: as for `interp.sweep`.
        unit_examples: as for `interp.sweep`.
        unit_ablations: as for `interp.sweep`.
        token_budget: as for `interp.sweep`.
        ray: as for `interp.sweep`.
        workers: as for `interp.sweep`.

    Returns:
        The runs side by side; `interp.open_run(out)` opens them again later.

    Raises:
        UserError: nothing is varied, a task lacks one of the ways, or `interp.sweep` refuses the
            request under one of them. It is raised before anything is written.
    """
    given = (fewshot_seeds, fewshot_orders, wordings, option_orders)
    ways = asked_ways(dict(zip(WAYS, given, strict=True)))
    refuse_options(limit=limit, seed=seed, shard=shard, ray=ray, workers=workers,
                   token_budget=token_budget)  # fmt: skip
    folder = path_given("out", out)
    plain = loaded_tasks(
        tasks, num_fewshot=num_fewshot, fewshot_seed=fewshot_seed, data=data,
        allow_code=allow_code or None,
    )  # fmt: skip
    # all ways are built before the first run, so that a task that lacks one is refused at once
    tasks_of = {way: [asked_as(task, way) for task in plain] for way in ways}
    model = given_model(model)
    if chat_template:
        tasks_of = {w: [as_chat(task, model) for task in these] for w, these in tasks_of.items()}
    rows = partial(drawn, tasks_of[PUBLISHED], limit, seed)
    refuse_uneven(folder, ways, _known(folder), rows, published_name)
    alike: dict[str, Any] = {
        "limit": limit, "seed": seed, "donor": donor, "cluster": cluster, "divergence": divergence,
        "allow": allow, "unit_examples": unit_examples, "unit_ablations": unit_ablations,
    }  # fmt: skip
    # the first way is checked by its own sweep; bad rows of other ways would only be found later
    for way in list(tasks_of)[1:]:
        check_ahead(model, tasks_of[way], ablations, out=folder / way, **alike)
    runs = {
        way: sweep(
            model, these, ablations, out=folder / way, shard=shard, token_budget=token_budget,
            ray=ray, workers=workers, **alike,
        )
        for way, these in tasks_of.items()
    }  # fmt: skip
    return _completed(folder, runs)


def asked_ways(numbers: dict[str, int]) -> list[str]:
    """The ways of asking for given numbers of each kind, the published one first.

    Args:
        numbers: for each kind (of `interp.tasks.WAYS`) the number of ways, including the published
            one.

    Returns:
        The ways, as `interp.tasks.asked_as` takes them.

    Raises:
        UserError: all are 1, so that nothing is varied, or a number is not allowed.
    """
    ways = [
        way for kind, number in numbers.items() if number != 1 for way in way_names(kind, number)
    ]
    if not ways:
        raise UserError(
            "nothing is varied; give fewshot_seeds, fewshot_orders, wordings or option_orders from "
            "2 on (`--vary fewshot-seed=5`)"
        )
    return list(dict.fromkeys(ways))


def _completed(folder: Path, runs: dict[str, Sweep]) -> Variation:
    """The variation; its file is written once every run is finished, and keeps earlier ways."""
    missing = [way for way, run in runs.items() if run.problems()]
    if missing:
        return Variation(runs)
    ways = list(dict.fromkeys([*runs, *_known(folder)]))
    records.write_whole(folder / FILE, json.dumps({"ways": ways}, indent=1).encode())
    return Variation(runs)


def _known(folder: Path) -> list[str]:
    return _ways(folder / FILE) if (folder / FILE).is_file() else []


def open_variation(folder: str | Path) -> Variation:
    """The runs of `interp.vary` in a folder, without the model.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        The variation, as `vary` returned it.

    Raises:
        UserError: there are none, or they were not finished.
    """
    file = path_given("variation", folder) / FILE
    if not file.is_file():
        raise UserError(
            f"variation {folder}: no {FILE} there; interp.vary writes it once every run is finished"
        )
    return Variation({way: Sweep(Path(folder) / way) for way in _ways(file)})


def _ways(file: Path) -> list[str]:
    """The ways in a variation's file; each is a folder beside it."""
    try:
        names = [str(way) for way in json.loads(records.read_regular(file))["ways"]]
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise UserError(f"{file}: it cannot be read ({first_line(error)})") from error
    for way in names:
        if not way or not all(c.isalnum() or c == "-" for c in way):
            raise UserError(f"{file}: {way!r} is no way of asking")
    return names
