"""`interp.compare`: one sweep per model over the same examples, which can be opened again."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import transformers
from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.ablations import Ablation, as_ablations, shape_of
from interp.comparison.evenness import drawn, refuse_uneven
from interp.comparison.result import Comparison, comparison_of
from interp.errors import UserError, first_line, names_given, path_given
from interp.models import given_model, model_folder
from interp.results import Sweep
from interp.sweeps import UNIT_ABLATIONS, UNIT_EXAMPLES, check_ahead, loaded_tasks, sweep
from interp.tasks import Task

FILE = "comparison.json"
Model: TypeAlias = TransformerBridge | transformers.PreTrainedModel | str | Path
Chosen = str | Sequence[str] | Callable[[TransformerBridge], Sequence[str | Ablation]]


def compare(
    models: Mapping[str, Model],
    tasks: Sequence[str | Path | Task] | str | Path | Task,
    ablations: Chosen = "layers",
    *,
    out: str | Path,
    limit: int | None = None,
    seed: int = 0,
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
) -> Comparison:
    """Run the same ablations of several models on the same examples.

    Each model has a sweep in `out/NAME`; the same call continues an interrupted one. Models given
    by name are loaded one after the other, so that only one is in memory at a time.

    Args:
        models: the models, in any form that `interp.sweep` takes, by the names that tables, figures
            and folders use.
        tasks: as for `interp.sweep`.
        ablations: a family as on the command line (`layers`, `attentions`, `mlps`, `heads`,
            `kvgroups`, `cumulative`, `blocks:3`), a single ablation, several of these, or a
            function of a model, such as `interp.each_layer`.
        out: folder of the runs.
        limit: at most this many examples per task, the same for every model.
        seed: seed of the draw, and of every bootstrap.
        num_fewshot: as for `interp.sweep`.
        fewshot_seed: as for `interp.sweep`.
        data: as for `interp.sweep`.
        chat_template: whether tasks that generate are asked through each model's own chat template.
        allow_code: as for `interp.sweep`.
        cluster: as for `interp.sweep`.
        divergence: as for `interp.sweep`; each model is compared with its own unablated self.
        shard: such as `"3/16"`: only this part of every model's units. When no unit is missing any
            more, the same call without `shard` completes the comparison.
        allow: as for `interp.sweep`.
        unit_examples: as for `interp.sweep`.
        unit_ablations: as for `interp.sweep`.
        token_budget: as for `interp.sweep`.
        ray: as for `interp.sweep`.
        workers: as for `interp.sweep`.

    Returns:
        The runs side by side; `interp.comparison.open_comparison(out)` opens them again later. With
        `shard` only the units of this shard are sure to be finished.

    Raises:
        UserError: there are fewer than two models, a name cannot be a folder's, the folder holds a
            comparison of other models, or the request cannot be carried out for the first model or
            for one that is in memory. It is raised before anything is written.
    """
    check_names(models)
    _refuse_others(path_given("out", out), models)
    alike: dict[str, Any] = {
        "limit": limit, "seed": seed, "cluster": cluster, "divergence": divergence, "allow": allow,
        "unit_examples": unit_examples, "unit_ablations": unit_ablations,
    }  # fmt: skip
    asked: dict[str, Any] = {
        "num_fewshot": num_fewshot, "fewshot_seed": fewshot_seed, "data": data,
        "allow_code": allow_code or None,
    }  # fmt: skip
    refuse_uneven(
        Path(out), list(models), [], lambda: drawn(loaded_tasks(tasks, **asked), limit, seed),
        lambda _, name: name.removeprefix("chat-" if chat_template else ""),
    )  # fmt: skip
    for name, model in list(models.items())[1:]:
        # the first is checked by its own sweep; a model that is not loaded yet is checked when it
        # is
        if isinstance(model, TransformerBridge):
            loaded = loaded_tasks(tasks, chat_template=model if chat_template else None, **asked)
            check_ahead(
                model, loaded, ablations_of(model, ablations), out=Path(out) / name, **alike
            )
    sweeps, n_layers = {}, {}
    for name, model_source in models.items():
        model = given_model(model_source)
        sweeps[name] = sweep(
            model, tasks, ablations_of(model, ablations), out=Path(out) / name,
            chat_template=chat_template, shard=shard, token_budget=token_budget, ray=ray,
            workers=workers, **alike, **(asked | {"allow_code": allow_code}),
        )  # fmt: skip
        n_layers[name] = shape_of(model).n_layers
    comparison = comparison_of(sweeps, n_layers)
    if all(map(_is_finished, sweeps.values())):
        text = json.dumps({"n_layers": n_layers}, indent=1)
        records.write_whole(Path(out) / FILE, text.encode())
    return comparison


def _is_finished(run: Sweep) -> bool:
    return not run.problems()


def open_comparison(folder: str | Path) -> Comparison:
    """The comparison in a folder, without the models.

    Args:
        folder: the folder that was given as `out`.

    Returns:
        The comparison, as `compare` returned it.

    Raises:
        UserError: there is none, or it was not finished.
    """
    file = path_given("comparison", folder) / FILE
    if not file.is_file():
        raise UserError(
            f"comparison {folder}: no {FILE} there; interp.compare writes it once every model's "
            "sweep is finished"
        )
    n_layers = _n_layers(file)
    return comparison_of({name: Path(folder) / name for name in n_layers}, n_layers)


def _n_layers(file: Path) -> dict[str, int]:
    """Names and numbers of layers in a comparison's file; each name is a folder beside it."""
    try:
        counts = json.loads(records.read_regular(file))["n_layers"]
        n_layers = {str(name): int(count) for name, count in counts.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise UserError(f"{file}: it cannot be read ({first_line(error)})") from error
    for name in n_layers:
        _check_folder_name(name)
    return n_layers


def _refuse_others(out: Path, models: Mapping[str, Model]) -> None:
    """Refuse a folder with a comparison that has a model which was not requested."""
    if not (out / FILE).is_file():
        return
    n_layers_kept = _n_layers(out / FILE)
    if not n_layers_kept.keys() <= models.keys():
        raise UserError(
            f"out {out}: it holds a comparison of {', '.join(n_layers_kept)}; {', '.join(models)} "
            "were asked; give another folder"
        )


def ablations_of(model: TransformerBridge, chosen: Chosen) -> list[str | Ablation]:
    """The ablations of a model that are given by families, texts or a function.

    Args:
        model: a bridge.
        chosen: as for `compare`.

    Returns:
        Texts or values, each once, in the order in which they were given.
    """
    if callable(chosen):
        return list(chosen(model))
    texts = names_given("ablations", chosen, "text forms, families, or a function of the model")
    return list(as_ablations(model, texts))


def check_names(models: Mapping[str, Model]) -> None:
    """Raise UserError for fewer than two models, bad names of folders, and unknown models.

    Args:
        models: as for `compare`.
    """
    if not isinstance(models, Mapping):
        raise UserError(f"models {models!r:.80}: allowed are names, each with a model")
    if len(models) < 2:
        raise UserError(
            f"models {', '.join(map(str, models)) or 'none'}: at least two are compared"
        )
    for name, model_source in models.items():
        _check_folder_name(name)
        if isinstance(model_source, str | Path):
            model_folder(str(model_source))


def _check_folder_name(name: str) -> None:
    if (
        not isinstance(name, str)
        or not name
        or name.startswith(".")
        or not all(c.isalnum() or c in "_-." for c in name)
    ):
        raise UserError(
            f"model name {name!r}: it names a folder; allowed are letters, digits, `_`, `-` and `.`"
        )
