"""Do the intervals cover, are false positives rare, is the power right? By simulation.

    python -m experiments.store.coverage

Simulates sweeps with a known truth and runs the toolkit's own statistics on them: the coverage of
the 95% interval of a score and of a drop, the share of 32-layer sweeps without any effect in which
Holm finds one, and the share of sweeps in which a true drop is found, next to `interp.stats.power`.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats as sps
from tqdm import tqdm

from experiments.store.reports import OUT, write_result
from interp.stats import Sample, adjust, drop_intervals, mcnemar, power, wilson

NS, DROPS, ACCURACIES = (50, 200, 1000), (0.0, 0.02, 0.2), (0.02, 0.25, 0.5, 0.9, 0.98)
NOISES = (0.0, 0.02, 0.1)


def coverage(sweeps: int, *, seed: int = 0, resamples: int = 2000) -> pd.DataFrame:
    """Coverage of the 95% interval of a drop, by examples, accuracy, drop and noise.

    Args:
        sweeps: simulated sweeps a row.
        seed: the seed of the simulation.
        resamples: the resamples of the bootstrap.

    Returns:
        Columns `n accuracy drop noise coverage low_misses high_misses intervals`; `noise` is the
        share of examples that the ablation helps by chance, as many more are harmed; misses are
        truths below the interval and above it.
    """
    rows = []
    for n, accuracy, drop, noise in tqdm(list(_settings()), unit="setting"):
        rng = np.random.default_rng([seed, n, *_whole(accuracy, drop, noise)])
        table = _changes(rng, n, sweeps, harmed=drop + noise, helped=noise)
        sample = Sample(table, np.arange(n), clustered=False)
        low, high, kinds = drop_intervals(sample, True, 0.95, resamples, seed)
        below, above = drop < low - 1e-12, drop > high + 1e-12
        names, counts = np.unique(kinds.astype(str), return_counts=True)
        kinds_shown = ", ".join(f"{k} {c / sweeps:.0%}" for k, c in zip(names, counts, strict=True))
        rows.append(
            {"n": n, "accuracy": accuracy, "drop": drop, "noise": noise, "sweeps": sweeps}
            | {"coverage": 1 - float(np.mean(below | above))}
            | {"low_misses": float(below.mean()), "high_misses": float(above.mean())}
            | {"intervals": kinds_shown}
        )
    return pd.DataFrame(rows)


def exact_accuracies() -> pd.DataFrame:
    """Coverage of intervals of an accuracy, summed exactly over the binomial.

    Returns:
        Columns `n accuracy` and a share for each interval: `wilson`, which the tables carry, and
        for comparison `wilson_corrected` (with continuity correction), `clopper_pearson` and
        `jeffreys`.
    """
    rows = []
    for n in NS:
        counts = np.arange(n + 1.0)
        bounds = _bounds(counts, n)
        for accuracy in (*ACCURACIES, 0.005, 0.995):
            chances = sps.binom.pmf(counts, n, accuracy)
            row: dict[str, float] = {"n": n, "accuracy": accuracy}
            for name, (low, high) in bounds.items():
                row[name] = float(chances[(low <= accuracy) & (accuracy <= high)].sum())
            rows.append(row)
    return pd.DataFrame(rows)


def _bounds(counts: np.ndarray, n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both bounds of each interval at every count."""
    whole = [sps.binomtest(int(k), n) for k in counts]
    corrected = [test.proportion_ci(method="wilsoncc") for test in whole]
    beta = sps.beta.ppf
    with np.errstate(invalid="ignore"):
        exact = beta(0.025, counts, n - counts + 1), beta(0.975, counts + 1, n - counts)
        jeffreys = [beta(q, counts + 0.5, n - counts + 0.5) for q in (0.025, 0.975)]
    return {
        "wilson": wilson(counts, n),
        "wilson_corrected": (
            np.array([one.low for one in corrected]),
            np.array([one.high for one in corrected]),
        ),
        # at no and at all successes the outer bound is 0 or 1 by definition
        "clopper_pearson": (
            np.where(counts == 0, 0.0, exact[0]),
            np.where(counts == n, 1.0, exact[1]),
        ),
        "jeffreys": (
            np.where(counts == 0, 0.0, jeffreys[0]),
            np.where(counts == n, 1.0, jeffreys[1]),
        ),
    }


def false_positives(sweeps: int, *, seed: int = 0, layers: int = 32) -> pd.DataFrame:
    """Share of sweeps without any effect in which some layer is called significant."""
    rows = []
    for n in NS:
        for noise in (0.01, 0.05, 0.2):
            rng = np.random.default_rng([seed, n, *_whole(noise)])
            counts = rng.multinomial(n, [noise, noise, 1 - 2 * noise], size=(sweeps, layers))
            p = mcnemar(counts[..., 0].ravel() * 1.0, counts[..., 1].ravel() * 1.0)
            p = p.reshape(sweeps, layers)
            holm = [bool((adjust(row) < 0.05).any()) for row in p]
            rows.append(
                {"n": n, "noise": noise, "layers": layers, "sweeps": sweeps}
                | {"uncorrected": float((p < 0.05).any(axis=1).mean())}
                | {"holm": float(np.mean(holm))}
            )
    return pd.DataFrame(rows)


def powers(sweeps: int, *, seed: int = 0) -> pd.DataFrame:
    """Share of sweeps in which a true drop is found, and what `power` says."""
    rows = []
    for n in NS:
        for drop in (0.02, 0.05, 0.1, 0.2):
            for noise in NOISES:
                rng = np.random.default_rng([seed, n, *_whole(drop, noise)])
                shares = [drop + noise, noise, 1 - drop - 2 * noise]
                counts = rng.multinomial(n, shares, size=sweeps)
                p = mcnemar(counts[:, 0] * 1.0, counts[:, 1] * 1.0)
                stated = power(n, 100 * drop, discordant=100 * (drop + 2 * noise))
                rows.append(
                    {"n": n, "drop": drop, "noise": noise, "sweeps": sweeps}
                    | {"simulated": float((p <= 0.05).mean()), "stated": stated}
                )
    return pd.DataFrame(rows)


def _settings() -> Iterator[tuple[int, float, float, float]]:
    """The settings that can occur: harmed examples were right before, helped ones wrong."""
    for n in NS:
        for accuracy in ACCURACIES:
            for drop in DROPS:
                for noise in NOISES:
                    if drop + noise <= accuracy and noise <= 1 - accuracy:
                        yield n, accuracy, drop, noise


def _changes(
    rng: np.random.Generator, n: int, sweeps: int, *, harmed: float, helped: float
) -> np.ndarray:
    """Differences of paired 0/1 outcomes, a column a sweep."""
    uniform = rng.random((n, sweeps))
    return (uniform < harmed).astype(float) - (uniform >= 1 - helped).astype(float)


def _whole(*shares: float) -> list[int]:
    return [round(1000 * share) for share in shares]


def main() -> None:
    """Run all simulations, write their tables, print the extremes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "coverage": coverage(options.sweeps, seed=options.seed),
        "coverage_accuracies": exact_accuracies(),
        "false_positives": false_positives(options.sweeps, seed=options.seed),
        "power": powers(options.sweeps, seed=options.seed),
    }
    for name, table in tables.items():
        table.to_csv(options.out / f"{name}.csv", index=False)
    covers, found = tables["coverage"], tables["power"]
    summary = {
        "sweeps": options.sweeps,
        "coverage_lowest": covers["coverage"].min(),
        "coverage_highest": covers["coverage"].max(),
        "settings": len(covers),
        "settings_below_93": int((covers["coverage"] < 0.93).sum()),
        "settings_above_97": int((covers["coverage"] > 0.97).sum()),
        "wilson_lowest": tables["coverage_accuracies"]["wilson"].min(),
        "wilson_highest": tables["coverage_accuracies"]["wilson"].max(),
        "false_positives_holm_highest": tables["false_positives"]["holm"].max(),
        "false_positives_uncorrected_highest": tables["false_positives"]["uncorrected"].max(),
        "power_largest_difference": (found["simulated"] - found["stated"]).abs().max(),
    }
    write_result(summary, options.out, "coverage")
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
