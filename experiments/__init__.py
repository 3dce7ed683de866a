"""Experiments: one module a question of the study."""
