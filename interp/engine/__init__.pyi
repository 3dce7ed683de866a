from .by_example import (
    answers_by_example as answers_by_example,
    example_of as example_of,
    scores_by_example as scores_by_example,
)
from .capabilities import (
    refuse_impossible as refuse_impossible,
)
from .direct import (
    final_norm as final_norm,
    head_outputs as head_outputs,
    held_norm as held_norm,
)
from .generation.answers import (
    generate as generate,
)
from .generation.grouping import (
    shared_length as shared_length,
)
from .generation.run import (
    Settings as Settings,
)
from .generation.stopping import (
    NOT_FINITE as NOT_FINITE,
    Answer as Answer,
    end_tokens as end_tokens,
)
from .memory import (
    out_of_memory as out_of_memory,
    release_memory as release_memory,
)
from .reference import (
    REFERENCE_EXAMPLES as REFERENCE_EXAMPLES,
    reference_means as reference_means,
    reference_rows as reference_rows,
)
from .replay import (
    Pass as Pass,
    record as record,
    run_block as run_block,
    unembed as unembed,
)
from .residuals import (
    padded as padded,
    refuse_several_streams as refuse_several_streams,
    vectors_at as vectors_at,
)
from .scoring.packing import (
    Group as Group,
    by_budget as by_budget,
    group_examples as group_examples,
    padded_batches as padded_batches,
)
from .scoring.score import (
    score_requests as score_requests,
)
from .scoring.targets import (
    Score as Score,
)
from .scoring.whole_model import (
    Compared as Compared,
)
from .shortcuts import (
    EVERY as EVERY,
    Shortcuts as Shortcuts,
    exact_shortcuts as exact_shortcuts,
    runs_in_pieces as runs_in_pieces,
    segments as segments,
)

__all__ = [
    "Answer",
    "Compared",
    "EVERY",
    "Group",
    "NOT_FINITE",
    "Pass",
    "REFERENCE_EXAMPLES",
    "Score",
    "Settings",
    "Shortcuts",
    "answers_by_example",
    "by_budget",
    "end_tokens",
    "exact_shortcuts",
    "final_norm",
    "example_of",
    "generate",
    "group_examples",
    "head_outputs",
    "held_norm",
    "out_of_memory",
    "padded",
    "padded_batches",
    "record",
    "refuse_impossible",
    "refuse_several_streams",
    "reference_means",
    "reference_rows",
    "release_memory",
    "run_block",
    "runs_in_pieces",
    "score_requests",
    "scores_by_example",
    "segments",
    "shared_length",
    "unembed",
    "vectors_at",
]
