"""Does a test fail where a mend is taken away? Ten kinds of silently wrong numbers.

    python -m experiments.store.mutations --out experiments/store

A copy of the package and its tests is changed, and the tests that are to hold the changed places
are run in it. Mends of one group are taken away together: no test of a group goes through a place
that another one holds. First all tests are run in the unchanged copy, where they pass.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[2]
COPIED = ("interp", "tests", "experiments", "pyproject.toml")
LINKED = ("data",)


@dataclass(frozen=True)
class Mutation:
    """A mend that is taken away.

    Attributes:
        kind: the kind of fault, as readers of the results would name it.
        file: the file of the package.
        text: what stands there, once.
        replacement: what is put in its place.
        test: file and name of the test that must fail.
        group: mends of one number are taken away together.
    """

    kind: str
    file: str
    text: str
    replacement: str
    test: str
    group: int


MUTATIONS = (
    Mutation(
        "identity: end tokens",
        "interp/sweeps/identity.py",
        "sorted(end_tokens(found))",
        "[]",
        "tests/sweeps/test_kept_apart.py::test_end_tokens_are_part_of_the_model",
        1,
    ),
    Mutation(
        "identity: code of hooks",
        "interp/sweeps/identity.py",
        "code = code_sha256(part.fwd_hooks)",
        "code = part.text",
        "tests/sweeps/test_kept_apart.py::test_a_changed_hook_is_refused_by_its_name",
        2,
    ),
    Mutation(
        "missing weights",
        "interp/models/checks.py",
        'missing = sorted(info["missing_keys"])',
        "missing = list[str]()",
        "tests/models/test_checks.py::test_weights_that_do_not_fit_are_refused_by_name",
        1,
    ),
    Mutation(
        "not finite: scores",
        "interp/engine/scoring/targets.py",
        "score if math.isfinite(score[0]) else FAILED",
        "score if math.isfinite(score[0]) else (0.0, True)",
        "tests/engine/test_not_finite.py::test_only_the_examples_that_fail_alone_are_failures[llama-nan]",
        2,
    ),
    Mutation(
        "not finite: tables of the others",
        "interp/stats/failures.py",
        "wide.drop(index=unread.tolist()).drop(columns=others.tolist())",
        "wide.fillna(0.0)",
        "tests/stats/test_failures.py",
        3,
    ),
    Mutation(
        "regimes: lens and similarity",
        "interp/engine/shortcuts.py",
        "ends = [at for at in can.changes if at < longest and not can.crosses(at)]",
        "ends = list[int]()",
        "tests/similarity/test_layers.py::test_texts_on_both_sides_of_a_switch_are_run_as_each_alone",
        2,
    ),
    Mutation(
        "regimes: the length of a row",
        "interp/tasks/requests.py",
        "return len(self.context) + len(self.continuation) - 1",
        "return len(self.context) + len(self.continuation)",
        "tests/engine/test_regimes.py::test_scores_equal_plain_transformers_row_by_row[longrope-0]",
        3,
    ),
    Mutation(
        "regimes: attention rows in pieces",
        "interp/engine/shortcuts.py",
        "return caching.cached and not caching.rebuilt_beyond",
        "return True",
        "tests/attention/test_rows.py::test_rows_beyond_a_switch_are_those_of_the_whole_prompt",
        1,
    ),
    Mutation(
        "heads: width of z",
        "interp/models/native_blocks.py",
        'width // n_heads if width else int(getattr(model.cfg, "d_head", None) or 1)',
        'int(getattr(model.cfg, "d_head", None) or 1)',
        "tests/ablations/test_head_widths.py::test_the_width_is_that_of_the_first_layer",
        1,
    ),
    Mutation(
        "metrics: aggregation",
        "interp/tasks/aggregation.py",
        "if aggregation not in AGGREGATIONS:",
        "if not aggregation:",
        "tests/tasks/test_metrics.py::test_a_metric_that_is_no_mean_is_refused_by_name_before_work",
        2,
    ),
    Mutation(
        "metrics: numbers of numpy",
        "interp/tasks/aggregation.py",
        'hasattr(value, "item") and getattr(value, "ndim", 0) == 0',
        "False",
        "tests/tasks/test_metrics.py::test_numbers_of_numpy_and_torch_count",
        1,
    ),
    Mutation(
        "metrics: direction in comparisons",
        "interp/results/direction.py",
        'values.assign(value=values["value"].where(~turned, 1 - values["value"]))',
        'values.assign(turned=turned).drop(columns="turned")',
        "tests/comparison/test_compare.py::"
        "test_where_less_is_better_a_drop_is_damage_in_every_table",
        3,
    ),
    Mutation(
        "metrics: labels that match no option",
        "interp/tasks/checking.py",
        "problem = _unmatched(gold, options, several=bool(harness.multiple_target))",
        "problem = None",
        "tests/tasks/test_checking.py::test_labels_that_name_no_option_are_refused",
        3,
    ),
    Mutation(
        "mistyped values",
        "interp/ablations/values.py",
        "if self.by not in get_args(Replacement):",
        "if not self.by:",
        "tests/ablations/test_values.py::test_every_public_value_checks_itself",
        1,
    ),
    Mutation(
        "names: two tasks of one name",
        "interp/sweeps/plan.py",
        "if name in seen:",
        'if what == "ablation" and name in seen:',
        "tests/tasks/test_loading.py::test_two_tasks_of_one_name_are_refused",
        2,
    ),
    Mutation(
        "state: training mode",
        "interp/models/capture.py",
        "training = [module for module in model.modules() if module.training] "
        "if model.training else []",
        "training = list[nn.Module]()",
        "tests/ablations/test_kinds.py::"
        "test_a_model_in_training_mode_is_ablated_in_evaluation_mode",
        3,
    ),
    Mutation(
        "figures: what has no form of its own",
        "interp/figures/families.py",
        "rest = [text for text in texts if text not in placed]",
        "rest = list[str]()",
        "tests/figures/test_families.py::test_whatever_is_swept_has_a_place",
        2,
    ),
    Mutation(
        "figures: panels behind the twelfth",
        "interp/figures/style.py",
        "zip(letters(), drawn, strict=False)",
        'zip("ABCDEFGHIJKL", drawn, strict=False)',
        "tests/figures/test_families.py::test_thirteen_tasks_and_all_behind_them_are_drawn",
        1,
    ),
)


def run(mutations: tuple[Mutation, ...], *, tell: bool = True) -> list[dict[str, str]]:
    """Take each mend away and run its test.

    Returns:
        A row a mutation: `kind`, `file`, `test`, `group`, and `found`: `yes` where the test failed.

    Raises:
        ValueError: a text is not there once, or a test fails without any mutation.
    """
    with tempfile.TemporaryDirectory() as place:
        copied = _copy(Path(place))
        for one in mutations:
            count = (copied / one.file).read_text().count(one.text)
            if count != 1:
                raise ValueError(f"{one.kind}: {one.text!r} stands {count} times in {one.file}")
        failed, shown = _failed(copied, [one.test for one in mutations])
        if failed:
            raise ValueError(f"tests fail without any mutation:\n{shown}")
        rows = []
        for group in tqdm(sorted({one.group for one in mutations}), disable=not tell):
            together = [one for one in mutations if one.group == group]
            for one in together:
                text = (copied / one.file).read_text()
                (copied / one.file).write_text(text.replace(one.text, one.replacement))
            failed, _ = _failed(copied, [one.test for one in together])
            for one in together:
                found = any(name == one.test or name.startswith(one.test) for name in failed)
                rows.append(
                    {"kind": one.kind, "file": one.file, "test": one.test}
                    | {"group": str(group), "found": "yes" if found else "no"}
                )
                shutil.copy(ROOT / one.file, copied / one.file)
        return rows


def _copy(place: Path) -> Path:
    for name in COPIED:
        source, ignored = ROOT / name, shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=ignored)
        else:
            shutil.copy(source, place / name)
    for name in LINKED:
        (place / name).symlink_to(ROOT / name)
    return place


def _failed(folder: Path, tests: list[str]) -> tuple[list[str], str]:
    """The names of the tests that fail, and the end of what pytest says.

    Raises:
        ValueError: pytest could not run them, which is no answer.
    """
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-rf", "--tb=no", "-p", "no:xdist", "--every-combination"]
    command = [sys.executable, "-m", "pytest", *options, *dict.fromkeys(tests)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise ValueError(f"pytest ended with {done.returncode}:\n{done.stdout[-2000:]}")
    lines = done.stdout.splitlines()
    failed = [line.removeprefix("FAILED ").split(" - ")[0] for line in lines if "FAILED " in line]
    return failed, done.stdout[-2000:]


def main() -> None:
    """Run, print and write the table; exit with 1 where a mutation was not found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/store"))
    options = parser.parse_args()
    rows = run(MUTATIONS)
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "mutations.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(f"{row['found']:4} {row['kind']:40} {row['test']}")
    raise SystemExit(any(row["found"] != "yes" for row in rows))


if __name__ == "__main__":
    main()
