from .capture import (
    capture_z as capture_z,
    evaluation_mode as evaluation_mode,
)
from .checks import (
    check_loaded as check_loaded,
    check_n_layers as check_n_layers,
)
from .devices import (
    COMPUTES_NOTHING as COMPUTES_NOTHING,
)
from .files import (
    INDEX as INDEX,
    check_files as check_files,
)
from .loading import (
    load_model as load_model,
    model_folder as model_folder,
)
from .native_blocks import (
    Decoder as Decoder,
    bridge_decoder as bridge_decoder,
    decoder as decoder,
    model_name as model_name,
    weights_hash as weights_hash,
    wrap as wrap,
)
from .quantised import (
    quantization_of as quantization_of,
    refuse_quantised as refuse_quantised,
)
from .shipped import (
    data_folder as data_folder,
    organisms as organisms,
)

__all__ = [
    "COMPUTES_NOTHING",
    "Decoder",
    "INDEX",
    "bridge_decoder",
    "capture_z",
    "check_files",
    "check_loaded",
    "check_n_layers",
    "data_folder",
    "decoder",
    "evaluation_mode",
    "load_model",
    "model_folder",
    "model_name",
    "organisms",
    "quantization_of",
    "refuse_quantised",
    "weights_hash",
    "wrap",
]
