from .aggregation import (
    LOG as LOG,
    WEIGHT as WEIGHT,
    WEIGHTED as WEIGHTED,
    Metric as Metric,
    described_metrics as described_metrics,
)
from .checking import (
    CheckedRequests as CheckedRequests,
    checked_requests as checked_requests,
    metric_names as metric_names,
)
from .clusters import (
    cluster_units as cluster_units,
)
from .counterfactual import (
    halves_of_pairs as halves_of_pairs,
    twin_tokens as twin_tokens,
    twins as twins,
)
from .divergence import (
    AGREEMENT as AGREEMENT,
    KL as KL,
    divergence_metrics as divergence_metrics,
    with_divergence as with_divergence,
)
from .examples import (
    check_draw as check_draw,
    described as described,
    draw_order as draw_order,
    how_drawn as how_drawn,
    select_examples as select_examples,
)
from .fixed import (
    FEWSHOT_SEED as FEWSHOT_SEED,
)
from .functions import (
    functions_of as functions_of,
)
from .key_value import (
    PLAIN as PLAIN,
    Span as Span,
    key_value_task as key_value_task,
    pair_spans as pair_spans,
    task_of_rows as task_of_rows,
)
from .listing import (
    protocols as protocols,
)
from .loading import (
    load_task as load_task,
)
from .metrics import (
    MEAN as MEAN,
)
from .names import (
    SHIPPED as SHIPPED,
    harness_folder as harness_folder,
    shipped_tasks as shipped_tasks,
)
from .positions import (
    MARK as MARK,
    class_positions as class_positions,
    covering as covering,
    encode_with_offsets as encode_with_offsets,
)
from .recomputing import (
    recomputed as recomputed,
)
from .requests import (
    BEYOND_GREEDY as BEYOND_GREEDY,
    GenerationRequest as GenerationRequest,
    OptionRequest as OptionRequest,
    Row as Row,
    build_requests as build_requests,
    build_rows as build_rows,
    encode as encode,
    encode_pair as encode_pair,
    generation_request as generation_request,
    harness_requests as harness_requests,
    option_request as option_request,
    prompt_text as prompt_text,
)
from .sampled import (
    BEYOND_SAMPLING as BEYOND_SAMPLING,
    Sampling as Sampling,
)
from .task import (
    Task as Task,
    TaskVariant as TaskVariant,
)
from .templates import (
    close_templates as close_templates,
)
from .trust import (
    refuse_code as refuse_code,
    refuse_code_below as refuse_code_below,
)
from .variants import (
    Messages as Messages,
    as_chat as as_chat,
    chat_template_hash as chat_template_hash,
    chat_text as chat_text,
    with_budget as with_budget,
    with_draws as with_draws,
)
from .ways import (
    PUBLISHED as PUBLISHED,
    WAYS as WAYS,
    asked_as as asked_as,
    published_seed as published_seed,
    way_names as way_names,
    way_of as way_of,
)

__all__ = [
    "AGREEMENT",
    "BEYOND_GREEDY",
    "BEYOND_SAMPLING",
    "CheckedRequests",
    "FEWSHOT_SEED",
    "GenerationRequest",
    "KL",
    "LOG",
    "MARK",
    "WEIGHT",
    "WEIGHTED",
    "MEAN",
    "Messages",
    "Metric",
    "OptionRequest",
    "PLAIN",
    "PUBLISHED",
    "Row",
    "SHIPPED",
    "Sampling",
    "Span",
    "Task",
    "TaskVariant",
    "WAYS",
    "as_chat",
    "asked_as",
    "build_requests",
    "cluster_units",
    "build_rows",
    "chat_template_hash",
    "chat_text",
    "check_draw",
    "checked_requests",
    "class_positions",
    "close_templates",
    "covering",
    "described",
    "described_metrics",
    "divergence_metrics",
    "draw_order",
    "metric_names",
    "select_examples",
    "encode",
    "encode_pair",
    "encode_with_offsets",
    "functions_of",
    "generation_request",
    "halves_of_pairs",
    "harness_folder",
    "harness_requests",
    "how_drawn",
    "key_value_task",
    "load_task",
    "option_request",
    "pair_spans",
    "prompt_text",
    "protocols",
    "published_seed",
    "recomputed",
    "refuse_code",
    "refuse_code_below",
    "shipped_tasks",
    "task_of_rows",
    "twin_tokens",
    "twins",
    "way_names",
    "way_of",
    "with_budget",
    "with_divergence",
    "with_draws",
]
