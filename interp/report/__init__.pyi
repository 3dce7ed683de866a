from .page import (
    QUESTION as QUESTION,
    render as render,
    write_report as write_report,
)
from .sections import (
    Choice as Choice,
)

__all__ = [
    "Choice",
    "QUESTION",
    "render",
    "write_report",
]
