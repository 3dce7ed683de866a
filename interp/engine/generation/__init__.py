"""Greedy and sampled generation under ablations, exact against one row at a time."""
