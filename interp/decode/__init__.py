"""Generation under ablation: the text of plain decoding, without decoding most of it."""

from interp.decode.generation import Generated, generate
from interp.decode.pool import Counts
from interp.decode.running import Settings
from interp.decode.stopping import Answer

__all__ = ["Answer", "Counts", "Generated", "Settings", "generate"]
