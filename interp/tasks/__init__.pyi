from .examples import (
    check_draw as check_draw,
    described as described,
    draw as draw,
    how_drawn as how_drawn,
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
    given_answers as given_answers,
    gold_options as gold_options,
    option_metrics as option_metrics,
    target_text as target_text,
    text_metrics as text_metrics,
)
from .names import (
    SHIPPED as SHIPPED,
    harness_folder as harness_folder,
    shipped_tasks as shipped_tasks,
)
from .requests import (
    BEYOND_GREEDY as BEYOND_GREEDY,
    BEYOND_SAMPLING as BEYOND_SAMPLING,
    GenerationRequest as GenerationRequest,
    OptionRequest as OptionRequest,
    Row as Row,
    Sampling as Sampling,
    build_requests as build_requests,
    build_rows as build_rows,
    encode as encode,
    encode_pair as encode_pair,
    generation_request as generation_request,
    option_request as option_request,
    prompt_text as prompt_text,
)
from .task import (
    Task as Task,
)
from .trust import (
    close_templates as close_templates,
    refuse_code as refuse_code,
    refuse_code_below as refuse_code_below,
)
from .variants import (
    Messages as Messages,
    as_chat as as_chat,
    chat_text as chat_text,
    with_budget as with_budget,
    with_draws as with_draws,
)

__all__ = [
    "BEYOND_GREEDY",
    "BEYOND_SAMPLING",
    "GenerationRequest",
    "MEAN",
    "Messages",
    "OptionRequest",
    "PLAIN",
    "Row",
    "SHIPPED",
    "Sampling",
    "Span",
    "Task",
    "as_chat",
    "build_requests",
    "build_rows",
    "chat_text",
    "check_draw",
    "close_templates",
    "described",
    "draw",
    "encode",
    "encode_pair",
    "generation_request",
    "given_answers",
    "gold_options",
    "harness_folder",
    "how_drawn",
    "key_value_task",
    "load_task",
    "option_metrics",
    "option_request",
    "pair_spans",
    "prompt_text",
    "protocols",
    "refuse_code",
    "refuse_code_below",
    "shipped_tasks",
    "target_text",
    "task_of_rows",
    "text_metrics",
    "with_budget",
    "with_draws",
]
