"""Experiments: one module per question of the study."""
