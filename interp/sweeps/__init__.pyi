from .ahead import (
    check_ahead as check_ahead,
)
from .cost import (
    WORTH_CALIBRATING as WORTH_CALIBRATING,
    estimate as estimate,
)
from .cutting import (
    UNIT_ABLATIONS as UNIT_ABLATIONS,
    UNIT_EXAMPLES as UNIT_EXAMPLES,
    PlannedTask as PlannedTask,
    UnitSizes as UnitSizes,
)
from .execution import (
    runner as runner,
)
from .identity import (
    describe_task as describe_task,
)
from .measures import (
    describe_measure as describe_measure,
)
from .plan import (
    Ablations as Ablations,
    Plan as Plan,
    make_plan as make_plan,
    size as size,
)
from .run import (
    loaded_tasks as loaded_tasks,
    refuse_options as refuse_options,
    sweep as sweep,
)
from .telling import (
    NOBODY as NOBODY,
    Told as Told,
)
from .transport import (
    pack_request as pack_request,
)
from .two_stages import (
    PatchSearch as PatchSearch,
    patch_search as patch_search,
)
from .units import (
    WorkUnit as WorkUnit,
)
from .wanted_metric import (
    check_metric as check_metric,
)

__all__ = [
    "Ablations",
    "PatchSearch",
    "Plan",
    "PlannedTask",
    "UNIT_ABLATIONS",
    "UNIT_EXAMPLES",
    "UnitSizes",
    "WORTH_CALIBRATING",
    "WorkUnit",
    "check_ahead",
    "check_metric",
    "describe_measure",
    "describe_task",
    "estimate",
    "loaded_tasks",
    "make_plan",
    "pack_request",
    "patch_search",
    "refuse_options",
    "runner",
    "size",
    "sweep",
]
