from .answer_sources import context_or_weights as context_or_weights
from .cells import (
    csv_text as csv_text,
)
from .export import (
    export_harness as export_harness,
    export_tables as export_tables,
)
from .listing import (
    run_line as run_line,
)
from .lost import (
    lost_examples as lost_examples,
    lost_together as lost_together,
)
from .pair_effects import (
    PARTS as PARTS,
    WHOLE as WHOLE,
    interactions as interactions,
    scope_parts as scope_parts,
)
from .patch_recovery import (
    recovery as recovery,
    recovery_by_example as recovery_by_example,
)
from .replacement_drops import (
    replacement_table as replacement_table,
)
from .rounding import (
    measured_rounding as measured_rounding,
    rounding_lines as rounding_lines,
)
from .saved import (
    Saved as Saved,
    claim_folder as claim_folder,
    kind_of as kind_of,
    read_result as read_result,
    released_if_refused as released_if_refused,
    save_result as save_result,
)
from .selection import (
    MetricChoice as MetricChoice,
    choose_metric as choose_metric,
    unknown_metric as unknown_metric,
)
from .summary import (
    result_line as result_line,
)
from .sweep import (
    Sweep as Sweep,
    open_run as open_run,
)
from .wrong_answers import (
    KINDS as KINDS,
    kind_of_answer as kind_of_answer,
    kinds_of_error as kinds_of_error,
    what_instead as what_instead,
)

__all__ = [
    "KINDS",
    "MetricChoice",
    "PARTS",
    "Saved",
    "Sweep",
    "WHOLE",
    "choose_metric",
    "claim_folder",
    "csv_text",
    "export_harness",
    "export_tables",
    "interactions",
    "kind_of",
    "kind_of_answer",
    "kinds_of_error",
    "lost_examples",
    "lost_together",
    "open_run",
    "measured_rounding",
    "read_result",
    "rounding_lines",
    "recovery",
    "recovery_by_example",
    "released_if_refused",
    "replacement_table",
    "result_line",
    "run_line",
    "save_result",
    "scope_parts",
    "unknown_metric",
    "what_instead",
]
