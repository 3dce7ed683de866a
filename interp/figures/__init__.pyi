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
from .export import (
    save as save,
)
from .head_maps import (
    importance_map as importance_map,
    retrieval_map as retrieval_map,
)
from .retrieval import (
    depth as depth,
    gold_position as gold_position,
    removal as removal,
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
    describe_n as describe_n,
    describe_tests as describe_tests,
    layer_of as layer_of,
)
from .tracing import (
    example as example,
)

__all__ = [
    "ALPHA",
    "COLUMN",
    "CORRECTIONS",
    "PAGE",
    "PrintFigure",
    "RC",
    "Results",
    "cka",
    "compared",
    "comparison",
    "depth",
    "describe_n",
    "describe_tests",
    "drafts",
    "drawings",
    "drops",
    "example",
    "gold_position",
    "heatmap",
    "importance_map",
    "layer_of",
    "layers",
    "lens",
    "readout",
    "removal",
    "retrieval_map",
    "save",
    "save_all",
    "similarity",
]
