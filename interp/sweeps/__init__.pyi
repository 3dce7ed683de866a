from .cost import (
    WORTH_CALIBRATING as WORTH_CALIBRATING,
    estimate as estimate,
)
from .execution import (
    runner as runner,
)
from .identity import (
    describe_task as describe_task,
)
from .plan import (
    Cut as Cut,
    Plan as Plan,
    make_plan as make_plan,
    size as size,
)
from .run import (
    Execution as Execution,
    sweep as sweep,
)
from .transport import (
    pack_request as pack_request,
)
from .units import (
    WorkUnit as WorkUnit,
)

__all__ = [
    "Cut",
    "Execution",
    "Plan",
    "WORTH_CALIBRATING",
    "WorkUnit",
    "describe_task",
    "estimate",
    "make_plan",
    "pack_request",
    "runner",
    "size",
    "sweep",
]
