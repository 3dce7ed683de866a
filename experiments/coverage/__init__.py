"""Does every interval cover, does every test keep its level? Sweeps with a known truth.

    python -m experiments.coverage

One row an interval or test and setting, in `table.csv`: what share of simulated sweeps the
interval covers the truth in, or the test rejects a true null hypothesis in.
"""
