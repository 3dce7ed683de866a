from .export import (
    export_harness as export_harness,
    export_tables as export_tables,
)
from .selection import (
    MetricChoice as MetricChoice,
    choose_metric as choose_metric,
)
from .sweep import (
    Sweep as Sweep,
    open_run as open_run,
)

__all__ = [
    "MetricChoice",
    "Sweep",
    "choose_metric",
    "export_harness",
    "export_tables",
    "open_run",
]
