"""At which depth do knowledge, retrieval and each step of reasoning become readable?

    python -m experiments.lens

Reads all shipped tasks through the logit lens in *base*, *teacher* and *distilled*; trains a tuned
lens on documents of the organisms' world for the first model; writes tables and figures.
"""

import argparse
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from interp.lens import Lens

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MODELS = ("organism:base", "organism:teacher", "organism:distilled")
EXAMPLES = 200
SEED = 0
OUT = Path("runs/lens")
STEPS = r"= ([0-9]+)"  # the result of each written-out step of arithmetic
DOCUMENTS = 400
PROMPTS = {"knowledge": "world-facts:generate", "retrieval": "world-kv:generate"}


def calibration_texts(count: int = DOCUMENTS, seed: int = SEED) -> list[str]:
    """Documents of the organisms' world, three skills in turn."""
    from experiments.organisms.documents import arithmetic_steps, fact_question, lookup
    from experiments.organisms.world import make_world

    rng, world = random.Random(seed), make_world()
    made = [
        (fact_question(rng, world), lookup(rng, world), arithmetic_steps(rng))[n % 3]
        for n in range(count)
    ]
    return ["".join(span.text for span in document) for document in made]


def run(
    models: Sequence[str] = MODELS,
    *,
    tasks: Sequence[str] | None = None,
    limit: int = EXAMPLES,
    tuned: bool = True,
    out: Path = OUT,
) -> list[Path]:
    """Read the tasks in every model; write tables and figures.

    Args:
        models: names for `interp.load_model`.
        tasks: by default all shipped ones.
        limit: examples a task.
        tuned: also train a tuned lens, for the first model.
        out: a new folder.

    Returns:
        The files that were written.
    """
    import pandas as pd

    import interp
    from interp.lens import Reading, logit_lens
    from interp.tasks import load_task, shipped_tasks

    names = tasks or [name for name in shipped_tasks() if name.startswith("world-")]
    loaded = [load_task(name) for name in names]
    reading = Reading(steps=STEPS, sublayers=False, seed=SEED)
    lenses: list[Lens] = []
    written: list[Path] = []
    for place, name in enumerate(models):
        model = interp.load_model(name)
        lenses += [logit_lens(model, task, limit=limit, reading=reading) for task in loaded]
        written += _grids(model, out)
        if place == 0 and tuned:
            written += _tuned(model, loaded, reading, limit, out)
    tables = {
        "table": pd.concat([lens.table() for lens in lenses]),
        "decision-depth": pd.concat([lens.decision_depth() for lens in lenses]),
        "differences": _differences(lenses),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(out / f"{name}.csv", index=False)
        written.append(out / f"{name}.csv")
    return written + _figures(tables, out)


def _grids(model: Any, out: Path) -> list[Path]:
    from interp import figures
    from interp.figures.style import model_label
    from interp.lens import prompt_grid
    from interp.models import model_name
    from interp.requests import prompt_text
    from interp.tasks import load_task

    written = []
    name = model_label(model_name(model))
    for skill, task_name in PROMPTS.items():
        task = load_task(task_name)
        table = prompt_grid(model, prompt_text(task, task.documents()[0]))
        written += figures.save(figures.lens.grid(table), out / f"grid-{skill}-{name}")
    return written


def _tuned(model: Any, tasks: Sequence[Any], reading: Any, limit: int, out: Path) -> list[Path]:
    """A tuned lens of one model: its held-out divergence, and the tasks read through it."""
    import pandas as pd

    from interp import figures
    from interp.lens import held_out_table, logit_lens, train_tuned_lens

    source = f"{DOCUMENTS} documents of the organisms' world (seed {SEED})"
    tuned = train_tuned_lens(model, calibration_texts(), source=source)
    tuned.save(out / "tuned-lens")
    held_out = held_out_table(tuned.card)
    chosen = [task for task in tasks if task.generates]
    lenses = [
        logit_lens(model, task, limit=limit, tuned=lens, reading=reading)
        for task in chosen
        for lens in (None, tuned)
    ]
    written = figures.save(figures.readout.divergence(held_out), out / "tuned-divergence")
    if lenses:
        table = pd.concat([lens.table() for lens in lenses])
        written += figures.save(figures.lens.by_depth(table), out / "tuned-by-depth")
    return written


def _differences(lenses: "Sequence[Lens]") -> "pd.DataFrame":
    """How much later than in the first model each answer is decided, paired over examples."""
    import pandas as pd

    from interp.lens import decision_difference

    first = {lens.task: lens for lens in lenses if lens.model == lenses[0].model}
    rows = [
        {"task": lens.task, "step": step, "model": lens.model, "against": lenses[0].model}
        | decision_difference(lens, first[lens.task], step=step)
        for lens in lenses
        if lens.model != lenses[0].model
        for step in lens.steps
        if step in first[lens.task].steps
    ]
    columns = ["task", "step", "model", "against", "difference", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _figures(tables: "dict[str, pd.DataFrame]", out: Path) -> list[Path]:
    from interp import figures
    from interp.figures.style import model_label

    table, written = tables["table"], []
    written += figures.save(figures.lens.by_depth(table), out / "by-depth")
    for model in table["model"].unique():
        figure = figures.lens.by_depth(table[table["model"] == model])
        written += figures.save(figure, out / f"by-depth-{model_label(model)}")
    figure = figures.lens.decision_depths(tables["decision-depth"])
    return written + figures.save(figure, out / "decision-depths")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", help="all shipped tasks by default")
    parser.add_argument("--limit", type=int, default=EXAMPLES)
    parser.add_argument("--no-tuned", action="store_true", help="train no tuned lens")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    written = run(
        options.models,
        tasks=options.tasks,
        limit=options.limit,
        tuned=not options.no_tuned,
        out=options.out,
    )
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
