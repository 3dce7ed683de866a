from . import (
    cka as cka,
    compared as compared,
    comparison as comparison,
    lens as lens,
    readout as readout,
    similarity as similarity,
)
from .accepted_drafts import (
    drafts as drafts,
)
from .by_protocol import (
    protocol_curves as protocol_curves,
)
from .causal_maps import (
    knockout_map as knockout_map,
    recovery_map as recovery_map,
)
from .effect_matrix import (
    downstream as downstream,
)
from .export import (
    save as save,
)
from .families import (
    Kind as Kind,
    kinds as kinds,
    layer_of as layer_of,
)
from .head_maps import (
    importance_map as importance_map,
    retrieval_map as retrieval_map,
)
from .interaction_map import (
    pairs as pairs,
)
from .replacement_marks import (
    replacements as replacements,
)
from .retrieval import (
    depth as depth,
    gold_position as gold_position,
    removal as removal,
)
from .scope_bars import (
    scopes as scopes,
)
from .self_repair_scatter import (
    self_repair as self_repair,
)
from .stacked import (
    answer_kinds as answer_kinds,
)
from .style import (
    COLUMN as COLUMN,
    PAGE as PAGE,
    RC as RC,
    PrintFigure as PrintFigure,
)
from .sweep_figures import (
    drawings as drawings,
    drops as drops,
    heatmap as heatmap,
    layers as layers,
    save_all as save_all,
)
from .tables import (
    ALPHA as ALPHA,
    CORRECTIONS as CORRECTIONS,
    Results as Results,
    colour_limit as colour_limit,
    describe_choice as describe_choice,
    describe_n as describe_n,
    describe_tests as describe_tests,
    describe_truncation as describe_truncation,
    describe_untestable as describe_untestable,
)
from .tracing import (
    example as example,
)

__all__ = [
    "ALPHA",
    "COLUMN",
    "CORRECTIONS",
    "Kind",
    "PAGE",
    "PrintFigure",
    "RC",
    "Results",
    "answer_kinds",
    "cka",
    "colour_limit",
    "compared",
    "comparison",
    "depth",
    "describe_choice",
    "describe_n",
    "describe_tests",
    "describe_truncation",
    "describe_untestable",
    "downstream",
    "drafts",
    "drawings",
    "drops",
    "example",
    "gold_position",
    "heatmap",
    "importance_map",
    "kinds",
    "knockout_map",
    "layer_of",
    "layers",
    "lens",
    "pairs",
    "protocol_curves",
    "readout",
    "recovery_map",
    "removal",
    "replacements",
    "retrieval_map",
    "save",
    "save_all",
    "scopes",
    "self_repair",
    "similarity",
]
