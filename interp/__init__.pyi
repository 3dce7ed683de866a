from . import (
    ablations as ablations,
    attention as attention,
    comparison as comparison,
    errors as errors,
    figures as figures,
    integrations as integrations,
    labels as labels,
    lens as lens,
    models as models,
    records as records,
    report as report,
    results as results,
    similarity as similarity,
    stats as stats,
    sweeps as sweeps,
    tasks as tasks,
)
from .ablations import (
    AblateExpert as AblateExpert,
    AblateHead as AblateHead,
    AblateKVGroup as AblateKVGroup,
    BackPatch as BackPatch,
    Cut as Cut,
    Exchange as Exchange,
    Order as Order,
    Parallel as Parallel,
    Patch as Patch,
    Repeat as Repeat,
    Replace as Replace,
    Reverse as Reverse,
    Scoped as Scoped,
    SkipAttention as SkipAttention,
    SkipLayer as SkipLayer,
    SkipLayers as SkipLayers,
    SkipMLP as SkipMLP,
    StreamingHead as StreamingHead,
    SwapLayer as SwapLayer,
    ablate as ablate,
    cumulative as cumulative,
    each_attention as each_attention,
    each_back_patch as each_back_patch,
    each_cut as each_cut,
    each_exchange as each_exchange,
    each_expert as each_expert,
    each_head as each_head,
    each_kv_group as each_kv_group,
    each_layer as each_layer,
    each_mlp as each_mlp,
    each_parallel as each_parallel,
    each_patch as each_patch,
    each_repeat as each_repeat,
    each_replaced as each_replaced,
    each_swap as each_swap,
    each_window as each_window,
    hooked as hooked,
    parse as parse,
    sliding_blocks as sliding_blocks,
)
from .attention import attention_rows as attention_rows, retrieval_heads as retrieval_heads
from .comparison import compare as compare, vary as vary
from .engine.generation.repl import generate as generate, stream as stream
from .errors import UserError as UserError
from .lens import logit_lens as logit_lens
from .models import load_model as load_model
from .opening import open_run as open_run
from .similarity import layer_similarity as layer_similarity
from .sweeps import sweep as sweep
from .tasks import load_task as load_task, twins as twins, with_draws as with_draws

__version__: str
