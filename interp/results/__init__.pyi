from .export import (
    export_harness as export_harness,
    export_tables as export_tables,
)
from .selection import (
    MetricChoice as MetricChoice,
    choose_metric as choose_metric,
)
from .summary import (
    result_line as result_line,
    run_line as run_line,
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
    "result_line",
    "run_line",
]
