from .answers import (
    WHOLE as WHOLE,
    check_reading as check_reading,
)
from .attribution import (
    direct_logit_attribution as direct_logit_attribution,
    head_table as head_table,
)
from .grid import (
    prompt_grid as prompt_grid,
)
from .patchscopes import patchscope as patchscope
from .quantities import (
    QUANTITIES as QUANTITIES,
)
from .repairing import (
    SelfRepair as SelfRepair,
    self_repair as self_repair,
)
from .residual_stream import (
    Depth as Depth,
    depths as depths,
)
from .result import (
    Lens as Lens,
    decision_difference as decision_difference,
)
from .saved import (
    open_lens as open_lens,
)
from .tasks import (
    logit_lens as logit_lens,
)
from .training import (
    Training as Training,
    text_hash as text_hash,
    train_tuned_lens as train_tuned_lens,
)
from .tuned import (
    TunedLens as TunedLens,
    held_out_table as held_out_table,
    load_tuned_lens as load_tuned_lens,
    new_folder as new_folder,
)

__all__ = [
    "Depth",
    "Lens",
    "QUANTITIES",
    "SelfRepair",
    "Training",
    "TunedLens",
    "WHOLE",
    "check_reading",
    "decision_difference",
    "depths",
    "direct_logit_attribution",
    "head_table",
    "held_out_table",
    "load_tuned_lens",
    "logit_lens",
    "new_folder",
    "open_lens",
    "patchscope",
    "prompt_grid",
    "self_repair",
    "text_hash",
    "train_tuned_lens",
]
