"""`interp lens`: at which depth the answer becomes readable."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.cli.options import Commands, add_tasks, loaded, loads_a_model, required_out, text_lines

if TYPE_CHECKING:
    from interp.lens import Lens, TunedLens


def add(commands: "Commands[argparse.ArgumentParser]") -> None:
    """Add the command."""
    lens = commands.add_parser(
        "lens",
        parents=[loads_a_model()],
        help="read the answer from the residual stream at every depth",
        description="Read the answer from the residual stream at every depth: rank, probability "
        "and the depth at which it takes the lead for good, over tasks; or the grid of one prompt. "
        "Several models are drawn on one axis of relative depth.",
    )
    lens.add_argument("models", nargs="+", metavar="MODEL", help="see `interp models`")
    add_tasks(lens)
    lens.add_argument("--prompt", metavar="TEXT", help="draw the grid of this prompt")
    lens.add_argument("--ablate", default="baseline", metavar="WHAT", help="such as layer:5")
    lens.add_argument(
        "--follow",
        default="target",
        help="for generated answers: target (the task's own text) or generated (the model's)",
    )
    lens.add_argument("--steps", metavar="REGEX", help="pieces of a written-out answer, read apart")
    lens.add_argument("--tuned", metavar="DIR", help="also read through this tuned lens")
    lens.add_argument("--tune-on", metavar="FILE", help="train a tuned lens on a text file's lines")
    lens.add_argument("--attribution", action="store_true", help="also direct logit attribution")
    lens.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from interp.ablations import checked_edits, parse
    from interp.errors import UserError
    from interp.lens import check_reading, load_tuned_lens
    from interp.models import decoder, model_folder
    from interp.results import claim_folder, released_if_refused
    from interp.tasks import checked_requests, load_task, select_examples

    if not options.tasks and not options.prompt:
        raise UserError("interp lens: nothing to read; give --tasks or --prompt")
    out = required_out(options)
    if options.tuned and options.tune_on:
        raise UserError("--tuned and --tune-on: give one of them")
    check_reading(options.follow, options.steps)
    texts = text_lines("--tune-on", options.tune_on)
    tuned_lens = load_tuned_lens(options.tuned) if options.tuned else None
    for name in options.models:
        model_folder(name, options.revision)
    ablation = parse(options.ablate)
    tasks = [
        load_task(name, data=options.data, allow_code=options.allow_code) for name in options.tasks
    ]
    _refuse_one_folder("models", [Path(name).name or name for name in options.models])
    _refuse_one_folder("--tasks", [task.name for task in tasks])
    lenses: list[Lens] = []
    attributions: list[Any] = []
    for name in options.models:
        model = loaded(name, options)
        checked_edits(model, ablation)
        if tuned_lens is not None:
            tuned_lens.translator(model, sublayers=False)
        for task in tasks:
            # a bad row of a later task is found before the first is read
            drawn = select_examples(task, options.limit, seed=options.seed)
            checked_requests(task, drawn, decoder(model), seed=options.seed)
        # what is in the folder is of the same words, or it is refused
        claim_folder(out, "several lenses", _asked(options))
        with released_if_refused(out):
            tuned = _trained(model, options, texts, out) if texts else tuned_lens
            if options.prompt:
                _grid(model, options, tuned, out)
            for task in tasks:
                for lens in (None, tuned) if tuned else (None,):
                    lenses.append(_read(model, task, options, lens, out))
                if options.attribution:
                    attributions.append(_attribute(model, task, options, out))
    if lenses:
        _figures(lenses, attributions, out)


def _asked(options: argparse.Namespace) -> dict[str, object]:
    """The words of the command that decide what is in its folder."""
    names = ("models", "tasks", "prompt", "limit", "ablate", "follow", "steps", "tuned", "tune_on",
             "seed", "data", "dtype", "revision", "adapter", "quantize")  # fmt: skip
    return {name: getattr(options, name) for name in names}


def _plain(text: str) -> str:
    """The name of a folder or file in the one that is written; never one that leads out of it."""
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in text.rsplit("/", 1)[-1])
    return name.encode()[:150].decode(errors="ignore").strip(".") or "unnamed"


def _refuse_one_folder(option: str, names: list[str]) -> None:
    from interp.errors import UserError

    taken: dict[str, str] = {}
    for name in names:
        # some file systems do not tell case apart
        place = _plain(name).lower()
        if place in taken:
            raise UserError(
                f"{option} {taken[place]} and {name}: both would be written to one folder, "
                f"{_plain(name)}; read them in two calls, with another --out each"
            )
        taken[place] = name


def _trained(model: Any, options: argparse.Namespace, texts: list[str], out: Path) -> "TunedLens":
    from interp import figures
    from interp.errors import UserError
    from interp.lens import held_out_table, load_tuned_lens, text_hash, train_tuned_lens
    from interp.models import model_name

    folder = out / _plain(model_name(model)) / "tuned-lens"
    if folder.is_dir():
        tuned = load_tuned_lens(folder)
        if tuned.card["text_sha256"] != text_hash(texts):
            raise UserError(f"--tune-on {options.tune_on}: {folder} was trained on another text")
        return tuned
    tuned = train_tuned_lens(model, texts, source=Path(options.tune_on).name)
    tuned.save(folder)
    figures.save(figures.readout.divergence(held_out_table(tuned.card)), folder / "divergence")
    print(folder)
    return tuned


def _grid(model: Any, options: argparse.Namespace, tuned: "TunedLens | None", out: Path) -> None:
    from interp import figures
    from interp.lens import prompt_grid
    from interp.models import model_name

    for lens in (None, tuned) if tuned else (None,):
        table = prompt_grid(model, options.prompt, ablation=options.ablate, tuned=lens)
        name = f"grid{'-tuned' if lens else ''}"
        path = out / _plain(model_name(model)) / name
        print(*figures.save(figures.lens.grid(table), path), sep="\n")


def _read(
    model: Any, task: Any, options: argparse.Namespace, tuned: "TunedLens | None", out: Path
) -> "Lens":
    from interp.lens import logit_lens
    from interp.models import model_name

    name = f"{_plain(task.name)}{'-tuned' if tuned else ''}"
    return logit_lens(
        model,
        task,
        limit=options.limit,
        ablation=options.ablate,
        tuned=tuned,
        out=out / _plain(model_name(model)) / name,
        seed=options.seed,
        follow=options.follow,
        steps=options.steps,
    )


def _attribute(model: Any, task: Any, options: argparse.Namespace, out: Path) -> Any:
    from interp.lens import direct_logit_attribution
    from interp.models import model_name
    from interp.records import write_whole
    from interp.results import csv_text

    table = direct_logit_attribution(
        model, task, limit=options.limit, follow=options.follow, seed=options.seed
    )
    folder = out / _plain(model_name(model))
    write_whole(folder / f"attribution-{_plain(task.name)}.csv", csv_text(table).encode())
    return table


def _figures(lenses: "list[Lens]", attributions: list[Any], out: Path) -> None:
    import pandas as pd

    from interp import figures

    tables = pd.concat([lens.table() for lens in lenses], ignore_index=True)
    decisions = pd.concat([lens.decision_depth() for lens in lenses], ignore_index=True)
    drawn = {
        "by-depth": figures.lens.by_depth(tables),
        "decision-depths": figures.lens.decision_depths(decisions),
    }
    for model, rows in _by_model(attributions):
        drawn[f"attribution-{_plain(model)}"] = figures.readout.attribution(rows)
    for name, figure in drawn.items():
        print(*figures.save(figure, out / name), sep="\n")
    shown = ["model", "task", "ablation", "lens", "step", "mean", "low", "high", "share_decided"]
    right = decisions[decisions["answer"] == "right"][shown]
    print(right.to_string(index=False, float_format=lambda x: f"{x:.2f}"))


def _by_model(attributions: list[Any]) -> "list[tuple[str, Any]]":
    import pandas as pd

    if not attributions:
        return []
    joined = pd.concat(attributions, ignore_index=True)
    return [(str(model), rows) for model, rows in joined.groupby("model", sort=False)]
