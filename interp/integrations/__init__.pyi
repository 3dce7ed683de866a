from .lm_eval import AblatedModel as AblatedModel

__all__ = [
    "AblatedModel",
]
