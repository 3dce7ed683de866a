"""What a record is, and the columns of a shard.

Version 4 of the store:

- `manifest.json`: what was run, in words and hashes (`interp.records.Manifest`); `libraries` holds
  versions and, under `interp-source`, the hash of this package's own code; `origin` says where and
  when the run was begun and is not compared; `units` lists every work unit by name, with its task,
  its examples (`first` and `examples`: a slice of the task's `doc_ids`) and its ablations (first
  and last number, both included; the baseline is number 0).
- `units/NAME.parquet`: one for each work unit, the columns of `SCHEMA`, one row for each example
  and ablation; rows ordered by ablation, then by example. Its file metadata holds `unit` (NAME),
  `run` (hash of all that decides its records) and `sha256` (of the whole file, with this very value
  written as zeros). Read, it is compared with its unit: its ablations, examples, task and count.
- `units/.NAME-N-of-M.piece`: the records of some examples of a unit that is being computed, a shard
  in all but its name.
- `units/NAME.parquet.damaged`: a shard that did not verify, moved aside.
- `.lock`, `.lock-3-of-16`: locks of running processes; empty ones are left overs without meaning.

Numbers that are not finite are null, and `failure` says why (`logits are not finite`): such a
record has null in every metric, and is neither right nor wrong.

Version 1 had neither the ablations of a unit nor the hash of the whole file, version 2 neither
`failure` nor the hashes of code and requests, version 3 no hash of one
unit's identity, so that runs could not be extended. Earlier runs are refused by their version.
"""

from dataclasses import dataclass, field

import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("task", pa.string()),
        ("doc_id", pa.int64()),
        ("ablation", pa.string()),
        ("target", pa.string()),
        ("loglikelihoods", pa.list_(pa.float64())),
        ("token_counts", pa.list_(pa.int64())),
        ("greedy", pa.list_(pa.bool_())),
        ("text", pa.string()),
        ("draws", pa.list_(pa.string())),
        ("finished", pa.bool_()),
        ("cut_tokens", pa.int64()),
        ("metrics", pa.map_(pa.string(), pa.float64())),
        ("failure", pa.string()),
    ]
)
"""The columns of a shard: one row for each example under each ablation."""


@dataclass(frozen=True)
class Record:
    """One example's outcome under one ablation.

    Attributes:
        model: name of the model.
        task: name of the task.
        doc_id: row of the task.
        ablation: text form; `baseline` for the unablated model.
        target: the right answer.
        loglikelihoods: nats, one per option; None for generated answers.
        token_counts: tokens of each option, or of each generated answer.
        greedy: whether each option is what greedy decoding would write.
        text: the generated answer, the first where several were drawn; None where options were
            scored.
        draws: all answers that were drawn, also where it was one; None where none was.
        finished: False where the token limit cut the generated answer, or one of the draws.
        cut_tokens: tokens dropped from the left of the prompt to fit the context.
        metrics: metric name to value; NaN in every one of a failure.
        failure: why there is no outcome, in words; empty where there is one.
    """

    model: str
    task: str
    doc_id: int
    ablation: str
    target: str
    loglikelihoods: tuple[float, ...] | None = None
    token_counts: tuple[int, ...] = ()
    greedy: tuple[bool, ...] | None = None
    text: str | None = None
    draws: tuple[str, ...] | None = None
    finished: bool | None = None
    cut_tokens: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    failure: str = ""
