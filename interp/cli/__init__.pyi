from .program import main as main

__all__ = [
    "main",
]
