"""A sweep that follows another one is checked before the first of them is run."""

from collections.abc import Sequence
from pathlib import Path

from transformer_lens.model_bridge import TransformerBridge

from interp import records
from interp.sweeps.cutting import UnitSizes
from interp.sweeps.extending import extension
from interp.sweeps.plan import Ablations, make_plan
from interp.tasks import Task, with_divergence


def check_ahead(
    model: TransformerBridge,
    tasks: Sequence[Task],
    ablations: Ablations,
    *,
    out: Path,
    limit: int | None = None,
    seed: int = 0,
    donor: TransformerBridge | None = None,
    cluster: str | None = None,
    divergence: bool = False,
    allow: Sequence[str] = (),
    unit_examples: int,
    unit_ablations: int,
) -> None:
    """Read, render and tokenise all rows of a sweep, and look at its folder; nothing is kept.

    Args:
        model: a bridge.
        tasks: loaded tasks.
        ablations: as for `interp.sweep`.
        out: folder of the run, there or not.
        limit: as for `interp.sweep`.
        seed: as for `interp.sweep`.
        donor: as for `interp.sweep`.
        cluster: as for `interp.sweep`.
        divergence: as for `interp.sweep`.
        allow: as for `interp.sweep`.
        unit_examples: as for `interp.sweep`.
        unit_ablations: as for `interp.sweep`.

    Raises:
        UserError: the sweep cannot be carried out, or its folder holds another run.
    """
    asked = [with_divergence(task) for task in tasks] if divergence else tasks
    plan = make_plan(
        model, asked, ablations, limit=limit, seed=seed, donor=donor, cluster=cluster,
        sizes=UnitSizes(unit_examples, unit_ablations),
    )  # fmt: skip
    if (out / records.MANIFEST).is_file():
        extension(model, plan, records.read_manifest(out), out, allow=allow)
