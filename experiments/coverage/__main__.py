"""Run all simulations, or those that are named, and write their rows."""

import argparse
import time
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from experiments.coverage import (
    centres,
    clusters,
    contrasts,
    controls,
    curves,
    drops,
    equivalences,
    factorials,
    floors,
    heads,
    lenses,
    models,
    outcomes,
    pairs,
    permutations,
    perplexities,
    profiles,
    removals,
    repairs,
    robustnesses,
    searches,
    selections,
    shapley,
    similarities,
    variants,
)

FAMILIES = {
    "ceilings": profiles.ceilings,
    "centres": centres.rows,
    "clusters": clusters.rows,
    "contrasts": contrasts.rows,
    "controls": controls.rows,
    "curves": curves.rows,
    "drops": drops.rows,
    "equivalences": equivalences.rows,
    "factorials": factorials.rows,
    "floors": floors.rows,
    "heads": heads.rows,
    "lenses": lenses.rows,
    "models": models.rows,
    "outcomes": outcomes.rows,
    "pairs": pairs.rows,
    "permutations": permutations.rows,
    "perplexities": perplexities.rows,
    "profiles": profiles.rows,
    "removals": removals.rows,
    "repairs": repairs.rows,
    "robustnesses": robustnesses.rows,
    "searches": searches.rows,
    "selections": selections.rows,
    "similarities": similarities.rows,
    "shapley": shapley.rows,
    "variants": variants.rows,
}
OUT = Path(__file__).parent / "table.csv"


def main() -> None:
    """Simulate; rows of families that were not run again are kept."""
    parser = argparse.ArgumentParser(prog="python -m experiments.coverage")
    parser.add_argument("family", nargs="*", default=list(FAMILIES), choices=list(FAMILIES))
    parser.add_argument("--sweeps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    for name in options.family:
        began, found = time.perf_counter(), []
        for row in tqdm(FAMILIES[name](options.sweeps, options.seed), desc=name, unit="row"):
            found.append({"family": name, **row, "seed": options.seed})
        old = pd.read_csv(options.out) if options.out.is_file() else pd.DataFrame()
        kept = old[old["family"] != name] if len(old) else old
        table = pd.concat([kept, pd.DataFrame(found)], ignore_index=True)
        table.to_csv(options.out, index=False)
        print(pd.DataFrame(found).to_string(index=False))
        print(f"{name}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
