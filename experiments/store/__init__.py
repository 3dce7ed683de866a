"""Is anything lost or overclaimed? Kills, corruption, coverage, false positives, schedules.

    python -m experiments.store.kills       kill -9 at random moments, then resume
    python -m experiments.store.ray_kills   the same with Ray: workers and drivers
    python -m experiments.store.coverage    intervals, false positives and power by simulation
    python -m experiments.store.fuzz        bad inputs: one-line errors, nothing written
    python -m experiments.store.mutations   repairs undone: a test must fail
    python -m experiments.store.scaling     two Ray workers against one; 64 workers simulated

Each writes one JSON file (and the simulations CSV files) to `runs/store`, and takes `--out`.
"""
