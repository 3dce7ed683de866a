"""Power curves over planted effects: `python -m experiments.validity.power --models 10`."""

import argparse
import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

HERE = Path(__file__).parent


def table(models: int) -> str:
    """Power by planted effect and kind of circuit beside the stated one, and what repair shows."""
    import pandas as pd
    from tqdm import tqdm

    from experiments.validity.graded import DRAWS, KINDS, SIZES, N, power_rows, repair_row
    from experiments.validity.planted import N_LAYERS
    from interp.stats import power

    seeds = list(tqdm(range(models), unit="model"))
    rows = pd.DataFrame([row for kind in KINDS for s in seeds for row in power_rows(s, kind)])
    repairs = pd.DataFrame([repair_row(seed) for seed in seeds])
    head = ["planted effect (points)", "stated power", *KINDS, "false alarms"]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head))]
    for size in SIZES:
        here = rows[rows["points"] == size]
        of_kind = here.groupby("kind")["power"].mean()
        cells = [f"{size}", f"{power(N, size, family=N_LAYERS):.2f}"]
        cells += [f"{of_kind[kind]:.2f}" for kind in KINDS]
        lines.append("| " + " | ".join([*cells, f"{here['false_alarms'].mean():.3f}"]) + " |")
    counts = {name: int(repairs[name].sum()) for name in repairs.columns if name not in
              ("seed", "share")}  # fmt: skip
    return "\n".join(
        [
            *lines,
            "",
            f"{models} models a kind, {DRAWS} samples of {N} examples each, Holm over {N_LAYERS} "
            "layers; the layer is called important where its adjusted p is below 0.05.",
            "",
            f"A fact that a later MLP writes where it is missing ({models} models): direct "
            f"attribution names the two MLPs that hold facts in {counts['attribution']}; the loss "
            f"is called repaired in {counts['repaired']} (share {repairs['share'].mean():.2f}), "
            f"the part that repairs it is named in {counts['repairer']}, and the facts without "
            f"repair are not called repaired in {counts['not repaired']}.",
            "",
            f"`python -m experiments.validity.power --models {models}` makes this page.",
            "",
        ]
    )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=10)
    parser.add_argument("--out", type=Path, default=HERE / "power.md")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    text = table(options.models)
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
