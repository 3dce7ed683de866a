from .block_parts import (
    MIXERS as MIXERS,
    MLPS as MLPS,
    Decoder as Decoder,
)
from .capture import (
    capture_contributions as capture_contributions,
    capture_z as capture_z,
    evaluation_mode as evaluation_mode,
    hidden_states_of as hidden_states_of,
    residual_of as residual_of,
    stopped_before_readout as stopped_before_readout,
)
from .checks import (
    check_loaded as check_loaded,
    check_n_layers as check_n_layers,
)
from .devices import (
    COMPUTES_NOTHING as COMPUTES_NOTHING,
    as_float64 as as_float64,
    weights_on_cpu as weights_on_cpu,
)
from .experts import (
    bridge_router as bridge_router,
    check_expert as check_expert,
    routers as routers,
)
from .files import (
    INDEX as INDEX,
    check_files as check_files,
    read_configuration as read_configuration,
)
from .given import (
    given_model as given_model,
)
from .hashing import (
    weights_hash as weights_hash,
)
from .layer_config import (
    NUMBERS as NUMBERS,
    relist as relist,
)
from .layer_order import (
    bridge_in_order as bridge_in_order,
    check_order_can_change as check_order_can_change,
    in_order as in_order,
)
from .loading import (
    folder_name as folder_name,
    load_model as load_model,
    model_folder as model_folder,
)
from .native_blocks import (
    bridge_decoder as bridge_decoder,
    decoder as decoder,
    model_name as model_name,
    wrap as wrap,
)
from .placement import (
    fewest_gpus as fewest_gpus,
    put_over_gpus as put_over_gpus,
)
from .quantised import (
    quantization_of as quantization_of,
    refuse_quantised as refuse_quantised,
    weights_kept as weights_kept,
)
from .shipped import (
    data_folder as data_folder,
    organisms as organisms,
)

__all__ = [
    "COMPUTES_NOTHING",
    "Decoder",
    "INDEX",
    "MIXERS",
    "MLPS",
    "NUMBERS",
    "as_float64",
    "bridge_decoder",
    "bridge_in_order",
    "bridge_router",
    "capture_contributions",
    "capture_z",
    "check_expert",
    "check_files",
    "check_loaded",
    "check_n_layers",
    "check_order_can_change",
    "data_folder",
    "decoder",
    "evaluation_mode",
    "fewest_gpus",
    "folder_name",
    "given_model",
    "in_order",
    "load_model",
    "model_folder",
    "model_name",
    "organisms",
    "put_over_gpus",
    "quantization_of",
    "read_configuration",
    "refuse_quantised",
    "relist",
    "hidden_states_of",
    "residual_of",
    "routers",
    "stopped_before_readout",
    "weights_hash",
    "weights_kept",
    "weights_on_cpu",
    "wrap",
]
