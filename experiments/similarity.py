"""Does cheap similarity predict what skipping a layer costs, and what pruning by it leaves?

    python -m experiments.similarity

Block influence, angular distance and CKA of each model; their rank correlation with the drops of a
sweep of every layer; pruning curves in five orders; the study's own script beside ours.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

MODELS = ("organism:base", "organism:teacher", "organism:distilled")
EXAMPLES = 100
MOST = 4
DRAWS = 3
SEED, OTHER_SEED = 0, 1
OUT = Path("runs/similarity")


def run(
    models: Sequence[str] = MODELS,
    *,
    tasks: Sequence[str] | None = None,
    limit: int = EXAMPLES,
    out: Path = OUT,
) -> list[Path]:
    """Measure similarity and importance, draw their agreement and the pruning curves.

    Args:
        models: names for `interp.load_model`.
        tasks: by default all shipped ones.
        limit: examples a task.
        out: a folder; finished sweeps in it are not run again.

    Returns:
        The files that were written.
    """
    import interp
    from interp.figures.style import model_label
    from interp.tasks import load_task, shipped_tasks

    names = tasks or [name for name in shipped_tasks() if name.startswith("world-")]
    loaded = [load_task(name) for name in names]
    written: list[Path] = []
    bridges = {name: interp.load_model(name) for name in models}
    for name, model in bridges.items():
        written += _one(model, loaded, limit, out / model_label(name))
    return written + _between(list(bridges.values()), out)


def _between(models: Sequence[Any], out: Path) -> list[Path]:
    """CKA between the first model and each other one, at the ends of the same texts."""
    import pandas as pd

    from experiments.lens import calibration_texts
    from interp import figures
    from interp.similarity import cka_between

    if len(models) < 2:
        return []
    texts = calibration_texts()
    tables = [cka_between(models[0], other, texts) for other in models[1:]]
    table = pd.concat(tables, ignore_index=True)
    drawn = {
        "cka-between": figures.cka.heatmap(table),
        "cka-same-depth": figures.cka.same_depth(table),
    }
    return [path for name, figure in drawn.items() for path in figures.save(figure, out / name)]


def _one(model: Any, tasks: Sequence[Any], limit: int, out: Path) -> list[Path]:
    import pandas as pd

    import interp
    from experiments.lens import calibration_texts
    from interp import figures
    from interp.figures.tables import choose_metric
    from interp.similarity import (
        layer_similarity,
        pruning_curves,
        similarity_and_importance,
        study_angular_distance,
    )

    texts = calibration_texts()
    found = [layer_similarity(model, task, limit=limit, seed=SEED) for task in tasks]
    generated = [one for one in found if one.source.endswith("generate")]
    on_texts = layer_similarity(model, texts)
    study = study_angular_distance(model, texts)
    # importance of other examples than the curves', or the order would flatter itself
    layers = interp.each_layer(model)
    sweep = interp.sweep(model, tasks, layers, out=out / "layers", limit=limit, seed=OTHER_SEED)
    values = choose_metric(sweep.values())
    tables = [
        similarity_and_importance(one.measures(), values[values["task"] == one.source])
        for one in found
    ]
    correlations, points = (pd.concat(x, ignore_index=True) for x in zip(*tables, strict=True))
    orders = _orders(on_texts, choose_metric(sweep.importance()))
    curves = pruning_curves(model, tasks, orders, out=out / "pruned", limit=limit, seed=SEED)
    correlations.to_csv(out / "agreement.csv", index=False)
    drawn = {
        "angular-distance": figures.similarity.angular(
            pd.concat([on_texts.angular, study], ignore_index=True)
        ),
        "block-influence": figures.similarity.influence(
            pd.concat([one.influence for one in generated or found])
        ),
        "cka": figures.cka.heatmap(on_texts.cka),
        "pruning": figures.similarity.pruning(choose_metric(curves)),
        **{
            f"agreement-{measure.replace(' ', '-')}": figures.similarity.agreement(
                points, correlations, measure=measure
            )
            for measure in ("block influence", "angular distance")
        },
    }
    return [path for name, figure in drawn.items() for path in figures.save(figure, out / name)]


def _orders(similarity: Any, importance: "pd.DataFrame") -> list[Any]:
    from interp.similarity import (
        at_random,
        by_angular_distance,
        by_importance,
        by_influence,
        deepest_first,
    )

    n_layers = len(similarity.influence)
    most = min(MOST, n_layers - 1)
    return [
        by_importance(importance, most),
        by_influence(similarity.influence, most),
        by_angular_distance(similarity.angular, most),
        deepest_first(n_layers, most),
        *at_random(n_layers, most, draws=DRAWS, seed=SEED),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--tasks", nargs="+", help="all shipped tasks by default")
    parser.add_argument("--limit", type=int, default=EXAMPLES)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    written = run(options.models, tasks=options.tasks, limit=options.limit, out=options.out)
    print(*written, sep="\n")


if __name__ == "__main__":
    main()
