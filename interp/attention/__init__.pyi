from .contrast import (
    ALL as ALL,
    removal_contrasts as removal_contrasts,
    removal_curve as removal_curve,
    removals as removals,
)
from .detectors import (
    detector_scores as detector_scores,
)
from .example import (
    trace_example as trace_example,
)
from .gold_position import (
    by_gold_position as by_gold_position,
)
from .heads import (
    RetrievalHeads as RetrievalHeads,
    open_heads as open_heads,
    retrieval_heads as retrieval_heads,
    top_heads as top_heads,
)
from .query_focus import (
    QueryFocus as QueryFocus,
    head_agreement as head_agreement,
    query_focused_heads as query_focused_heads,
)
from .rows import (
    attention_rows as attention_rows,
)
from .skills import (
    explained as explained,
    overlap as overlap,
)

__all__ = [
    "ALL",
    "QueryFocus",
    "RetrievalHeads",
    "attention_rows",
    "by_gold_position",
    "detector_scores",
    "explained",
    "head_agreement",
    "open_heads",
    "overlap",
    "query_focused_heads",
    "removal_contrasts",
    "removal_curve",
    "removals",
    "retrieval_heads",
    "top_heads",
    "trace_example",
]
