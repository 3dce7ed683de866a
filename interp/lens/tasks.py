"""The logit lens over a task: what can be read at each depth, streamed over the examples."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp import models
from interp.ablations import Ablation, Edits, Means, as_ablation, checked_edits
from interp.engine import reference_means
from interp.errors import UserError, check_whole, path_given
from interp.lens.answers import Answer, build_answers, check_reading
from interp.lens.quantities import ANSWERS, QUANTITIES, AnswerPositions, decision, example_values
from interp.lens.readout import Translate, read
from interp.lens.residual_stream import depths, refuse_programs, residual_stack
from interp.lens.result import Lens, StepMeans
from interp.lens.saved import KIND, open_lens, save_lens
from interp.lens.tuned import TunedLens, check_tuned
from interp.models import model_name, weights_kept
from interp.records import whole_file
from interp.results import claim_folder, released_if_refused
from interp.stats import MOST_RESAMPLES, poisson_weights
from interp.sweeps import describe_measure
from interp.tasks import Task, build_rows, cluster_units, load_task, select_examples

log = logging.getLogger("interp")
CHUNK = 256
TOKEN_BUDGET = 4096
_TYPES = {"doc_id": pa.int64(), "step": pa.string(), "depth": pa.float64()}
EXAMPLES = pa.schema(list((_TYPES | dict.fromkeys(QUANTITIES, pa.float64())).items()))
"""The columns of `examples.parquet`."""


@dataclass(frozen=True)
class LensOptions:
    """How the lens reads a task: the options of `logit_lens` with the same names."""

    follow: str = "target"
    steps: str | None = None
    sublayers: bool = True
    resamples: int = 1000
    seed: int = 0


def logit_lens(
    model: TransformerBridge,
    task: str | Path | Task,
    *,
    limit: int | None = None,
    seed: int = 0,
    ablation: str | Ablation = "baseline",
    tuned: TunedLens | None = None,
    follow: str = "target",
    steps: str | None = None,
    sublayers: bool = True,
    resamples: int = 1000,
    out: str | Path | None = None,
) -> Lens:
    """Read a task's answers from the residual stream at every depth.

    Every vector that predicts a token of an answer is put through the model's own final norm and
    unembedding (nostalgebraist, "interpreting GPT: the logit lens", 2020), as in
    `transformer_lens.tools.analysis.logit_lens`. At the last depth this is the model's own
    prediction. Only the requested vocabulary entries are kept, and only sums over examples stay in
    memory.

    Args:
        model: from `interp.load_model`, or a bridge booted by hand.
        task: a name, the path of a task YAML, or a task from `interp.load_task`.
        limit: at most this many examples, drawn with the seed; all by default.
        seed: seed of the draw of examples and of the bootstrap.
        ablation: what is taken away while the lens reads; the last depth is then the ablated
            model's own prediction.
        tuned: an `interp.lens.TunedLens`, applied before the final norm; None is the plain lens.
            Depths that it was not trained for (after attentions) are left out.
        follow: what is followed in tasks that generate: `target` is the task's written-out answer,
            `generated` what the unablated model writes.
        steps: a regular expression of the pieces of a written-out answer that are read separately,
            such as `= ([0-9]+)`. If it has a group, the piece is the first group of a match.
        sublayers: whether to read also after each attention.
        resamples: bootstrap resamples, of the clusters that the task declares, or else
            examples.
        out: the folder in which the result is kept, with `examples.parquet` (one row per example,
            step and depth) and the tables as CSV. `interp.open_run` opens it again, and the same
            call returns the result that is there. By default nothing is written.

    Returns:
        What the lens read at every depth, with bootstrap replicates; `Lens.table()` and
        `Lens.decision_depth()` give means with intervals.

    Raises:
        UserError: the request cannot be carried out. It is raised before any work.
    """
    reading = LensOptions(follow, steps, sublayers, resamples, seed)
    _check(reading, tuned)
    task = task if isinstance(task, Task) else load_task(task)
    decoder, drawn = models.decoder(model), select_examples(task, limit, seed=reading.seed)
    value = as_ablation(ablation)
    edits = checked_edits(model, value)
    refuse_programs(value, edits)
    if tuned and reading.sublayers and not tuned.sublayers:
        reading = replace(reading, sublayers=False)
    translate = tuned.translator(model, sublayers=reading.sublayers) if tuned else None
    folder = path_given("out", out) if out is not None else None
    request: dict[str, Any] = {}
    if folder:
        asked_of = asdict(reading) | {"limit": limit, "ablation": value.text}
        asked_of |= {"tuned": tuned.card if tuned else None}
        request = describe_measure(model, task, drawn, asked_of)
        if claim_folder(folder, KIND, request):
            return open_lens(folder)
    means = _means(model, task, edits, reading.seed)
    read_depths = depths(decoder.n_layers, sublayers=reading.sublayers)
    lens = Lens(model_name(model), task.name, value.text, "tuned lens" if tuned else "logit lens",
                tuple(read_depths), {}, weights_kept(model))  # fmt: skip
    failed, described = set[int](), f"{lens.model}, {task.name}"
    with (
        released_if_refused(folder),
        _examples_in(folder, lens) as writer,
        tqdm(total=len(drawn), unit="example", desc=described) as bar,
    ):
        for start in range(0, len(drawn), CHUNK):
            chosen = drawn[start : start + CHUNK]
            answers = build_answers(model, task, chosen, follow=reading.follow, steps=reading.steps)
            for batch in _batches(answers):
                values = _values(model, batch, edits=edits, means=means, translate=translate,
                                 sublayers=reading.sublayers)  # fmt: skip
                failed |= {doc for (doc, _), value in values.items() if np.isnan(value).any()}
                _add(lens, task, values, reading)
                if writer:
                    writer.write(values)
                bar.update(len(batch))
        if not lens.steps:
            raise UserError(f"task {task.name}: no example has an answer to read")
    _say_failures(lens, failed, len(drawn))
    if folder:
        save_lens(folder, lens, request)
    return lens


def _means(model: TransformerBridge, task: Task, edits: Edits, seed: int) -> Means | None:
    """What `@mean` and `@linear` put; None where nothing is replaced so."""
    if not edits.uses_mean:
        return None
    return reference_means(model, task, seed=seed, linear=edits.linear_layers)


def _check(reading: LensOptions, tuned: Any) -> None:
    check_reading(reading.follow, reading.steps)
    check_whole("resamples", reading.resamples, 1, MOST_RESAMPLES)
    check_tuned(tuned)


def _say_failures(lens: Lens, failed: set[int], n: int) -> None:
    if failed:
        log.warning(
            "model %s, task %s: logits are not finite in %d of %d examples; the depths where they "
            "are not have no mean",
            lens.model, lens.task, len(failed), n,
        )  # fmt: skip


Values = dict[tuple[int, str], np.ndarray]
"""For each (doc_id, step), values `[depth, quantities]`."""


def _batches(answers: Sequence[Answer]) -> Iterator[list[Answer]]:
    """Batches of whole examples, longest first, within the token budget."""

    def longest(answer: Answer) -> int:
        return max(len(o.context) + len(o.continuation) for o in answer.options)

    batch: list[Answer] = []
    for answer in sorted(answers, key=longest, reverse=True):
        rows = sum(len(one.options) for one in [*batch, answer])
        if batch and rows * longest(batch[0]) > TOKEN_BUDGET:
            yield batch
            batch = []
        batch.append(answer)
    if batch:
        yield batch


def _values(model: TransformerBridge, answers: Sequence[Answer], *, translate: Translate | None,
            sublayers: bool, **ablated: Any) -> Values:  # fmt: skip
    requests = [option for answer in answers for option in answer.options]
    rows = build_rows(requests)
    vectors: dict[tuple[int, int], int] = {}
    reads: list[tuple[int, int]] = []
    where: dict[int, tuple[list[int], list[int]]] = {}
    for r, row in enumerate(rows):
        for number, start, tokens in row.scored:
            at = [vectors.setdefault((r, start + i), len(vectors)) for i in range(len(tokens))]
            where[number] = (list(range(len(reads), len(reads) + len(tokens))), at)
            reads += zip(at, tokens, strict=True)
    stack = residual_stack(
        model, [row.tokens for row in rows], list(vectors), sublayers=sublayers, **ablated
    )
    readouts = read(
        models.decoder(model), stack, torch.tensor(reads, device=stack.device), translate=translate
    )
    values, number = {}, 0
    for answer in answers:
        positions = AnswerPositions()
        for _ in answer.options:
            positions.add(*where[number])
            number += 1
        for name, tokens in answer.steps:
            values[answer.doc_id, name] = example_values(answer, tokens, readouts, positions)
    return values


def _add(lens: Lens, task: Task, values: Values, reading: LensOptions) -> None:
    names = list(QUANTITIES)
    known = list(dict.fromkeys(doc_id for doc_id, _ in values))
    unit = dict(zip(known, cluster_units(task, known), strict=True))
    drawn = poisson_weights(list(unit.values()), resamples=reading.resamples, seed=reading.seed)
    weights = dict(zip(known, drawn, strict=True))
    for step in dict.fromkeys(step for _, step in values):
        doc_ids = [doc_id for doc_id, name in values if name == step]
        chosen = np.stack([values[doc_id, step] for doc_id in doc_ids])
        of_step = np.stack([weights[doc_id] for doc_id in doc_ids])
        decided = np.zeros((len(doc_ids), len(ANSWERS), chosen.shape[1] + 1))
        for row, example in enumerate(chosen):
            for place, answer in enumerate(ANSWERS):
                leads = example[:, names.index(f"{answer}_leads")]
                if np.isnan(leads).any():
                    decided[row, place] = np.nan
                else:
                    decided[row, place, decision(leads > 0)] = 1
        tally = lens.steps.setdefault(step, StepMeans.empty(chosen.shape[1], reading.resamples))
        units = [unit[doc_id] for doc_id in doc_ids]
        tally.values.add(of_step, chosen, units=units)
        tally.decisions.add(of_step, decided, units=units)


class _Examples:
    """Writes the examples batch by batch, one row per example, step and depth."""

    def __init__(self, writer: pq.ParquetWriter, lens: Lens) -> None:
        self.writer, self.depths = writer, lens.depths

    def write(self, values: Values) -> None:
        numbers = [depth.number for depth in self.depths]
        columns: dict[str, Any] = {
            "doc_id": [doc for doc, _ in values for _ in numbers],
            "step": [step for _, step in values for _ in numbers],
            "depth": numbers * len(values),
        }
        joined = np.concatenate(list(values.values()))
        columns |= {name: joined[:, place] for place, name in enumerate(QUANTITIES)}
        self.writer.write_table(pa.table(columns, schema=EXAMPLES))


@contextmanager
def _examples_in(folder: Path | None, lens: Lens) -> Iterator[_Examples | None]:
    """The examples' file, there once all are written; None where nothing is kept."""
    if folder is None:
        yield None
        return
    with (
        whole_file(folder / "examples.parquet") as file,
        pq.ParquetWriter(file, EXAMPLES) as writer,
    ):
        yield _Examples(writer, lens)
