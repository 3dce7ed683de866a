"""A kind of `fuzz.py`: public calls, one of whose arguments is of another type, size or name.

Each call is good but for that argument. It succeeds, or a line of `UserError` says what is allowed,
before the model is run and before anything is written. What is called stands in `door_calls.py`
(with a model) and `door_tables.py` (tables and results); `INSIDE` names what is no door.
"""

import importlib
import inspect
import logging
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd

from experiments.store.plain_kinds import Attempt, Check, Draw, anything

Doors = Mapping[str, tuple[Callable[..., Any], dict[str, Any]]]

log = logging.getLogger(__name__)

OUT = "door-out"
"""Where calls write; it is removed after each."""

MOST_SECONDS = 60
"""A good call takes a second or two; one that takes so long is a defect."""

PACKAGES = ("ablations", "attention", "comparison", "figures", "lens", "report", "results",
            "similarity", "stats", "sweeps", "tasks")  # fmt: skip

# these would load, draw or write for long where they are good
HEAVY = {("load_model", "name")}

SELDOM = ("write_report", "swaps_between", "compare", "vary", "swap_sweep", "layer_shapley")
"""They take seconds where what is asked is good, and are drawn a tenth as often."""

# what is found only in what the model answers, or by trying a part of it
AFTER_WORK: set[tuple[str, str]] = set()

INSIDE = {
    "ablations": "aligned bridge_edited check_donor check_donor_used checked_edits_of draw_donors"
    " edited forward_replaced function_or_refusal identity_block kinds_of layer_of_point"
    " mean_outputs first_numbered of_the_row outputs_on padded_labels part_parameters"
    " parsed_or_none refuse_hooks shape_of text_labels with_donor donors active_edits each_expert",
    "attention": "removal_contrasts removal_curve top_heads",
    "comparison": "ablations_of asked_ways check_names depth_correlations depth_quantities"
    " ends_line",
    "figures": "colour_limit describe_choice describe_n describe_tests describe_truncation"
    " describe_untestable layer_of kinds drafts example gold_position protocol_curves removal"
    " save cka compared comparison lens readout similarity",
    "lens": "check_reading held_out_table new_folder text_hash",
    "report": "render",
    "results": "claim_folder released_if_refused kind_of_answer kinds_of_error what_instead"
    " read_result measured_rounding rounding_lines run_line save_result unknown_metric",
    "similarity": "angular_distance cosine hsic nested skipped_layers",
    "stats": "NO_RATIO adjust bootstrap_means ceiling_of cells_of check_columns check_options"
    " check_paired check_loglikelihoods check_values compared contrasts crossed difference_of"
    " disattenuated drop_intervals drops_by_document drops_sample expected_excess family_of"
    " fieller fit_two_way mcnemar mean_intervals mean_test means_of percentiles poisson_weights"
    " reliability resampled_profile sample_of series shapes_differ share_kept"
    " share_kept_difference shares_lost sign_flip simultaneous spearman step_interval"
    " student_interval student_p student_reach student_test tango unit_name wilson design_effect"
    " findable nothing_found say_left_out before_running hypergeometric fisher_exact_p"
    " perplexity_drops perplexity_scores weighted_losses factorial_contrasts smallest_p"
    " rounding_floor sample_by unit_values with_rounding",
    "sweeps": "check_ahead check_metric describe_measure describe_task estimate loaded_tasks"
    " make_plan pack_request refuse_options runner size",
    "tasks": "as_chat asked_as build_requests build_rows chat_template_hash chat_text"
    " check_draw checked_requests class_positions close_templates covering described"
    " described_metrics draw_order encode encode_pair encode_with_offsets functions_of"
    " generation_request harness_folder harness_requests how_drawn metric_names option_request"
    " pair_spans prompt_text protocols published_seed recomputed refuse_code refuse_code_below"
    " select_examples shipped_tasks twin_tokens way_names way_of cluster_units"
    " divergence_metrics with_divergence",
}
"""Functions of each package that other packages call with what they made themselves."""


def kind(
    bridge: Any, model: Path, task: Path, finished: Any, folder: Path, attempt: Attempt
) -> tuple[Draw, Check]:
    """What draws a call, and what tries it.

    Args:
        bridge: a model in memory.
        model: its folder.
        task: YAML of a task with options.
        finished: a run.
        folder: the folder for files; calls are made from within it.
        attempt: runs an action; True where it succeeds, False where a line refuses it.

    Returns:
        An input is the name of a door, a parameter and its value.
    """
    doors = dict[str, tuple[Callable[..., Any], dict[str, Any]]]()
    tried = set[str]()
    paths = [folder, folder / "fifo", folder / "empty", folder / "missing", task, model]
    places: list[Any] = [f(path) for path in paths for f in (str, Path)]

    def draw(rng: random.Random) -> tuple[str, str, Any]:
        if not doors:
            every = all_doors(bridge, model, task, finished, folder)
            doors.update({n: (c, g) for n, (c, g) in every.items() if parameters(c) | set(g)})
            os.mkfifo(folder / "fifo")
            (folder / "empty").touch()
        name = rng.choice(sorted(doors))
        while name in SELDOM and rng.random() < 0.9:
            name = rng.choice(sorted(doors))
        call, given = doors[name]
        free = sorted(n for n in parameters(call) | set(given) if (name, n) not in HEAVY)
        parameter = rng.choice(free)
        good = given.get(parameter)
        if isinstance(good, pd.DataFrame) and rng.random() < 0.7:
            return name, parameter, spoiled(good, rng)
        value = rng.choice(places) if rng.random() < 0.1 else anything(rng)
        return name, parameter, value

    def check(drawn: tuple[str, str, Any]) -> bool:
        name, parameter, value = drawn
        call, given = doors[name]
        if name not in tried:
            call(**given)  # a door that is shut for all would show nothing
            shutil.rmtree(OUT, ignore_errors=True)
            tried.add(name)
        with limited(MOST_SECONDS), run_counted() as run:
            accepted = attempt(lambda: call(**given | {parameter: value}))
        there = Path(OUT).exists()
        shutil.rmtree(OUT, ignore_errors=True)
        assert accepted or not there, "a refused call left a folder"
        late = not accepted and run and (name, parameter) not in AFTER_WORK
        assert not late, "the model was run before the refusal"
        return accepted

    return draw, check


def all_doors(bridge: Any, model: Path, task: Path, finished: Any, folder: Path) -> Doors:
    """Every door with its good arguments.

    Args:
        bridge: a model in memory.
        model: its folder.
        task: YAML of a task with options.
        finished: a run.
        folder: the folder for files.

    Returns:
        Name to the call and its arguments. Public functions that are neither a door nor declared
        to be inside are named in a warning.
    """
    from experiments.store.door_calls import calls, values
    from experiments.store.door_tables import tables

    doors = {**values(bridge), **tables(bridge, task, finished, folder),
             **calls(bridge, model, task, finished)}  # fmt: skip
    without = undeclared(doors)
    if without:
        log.warning("neither doors nor declared to be inside: %s", ", ".join(without))
    return doors


def parameters(call: Callable[..., Any]) -> set[str]:
    """The parameters of a call that have a name."""
    found = inspect.signature(call).parameters.values()
    return {p.name for p in found if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def undeclared(doors: Doors) -> list[str]:
    """Public functions that are neither a door nor inside."""
    found = []
    for package in PACKAGES:
        module = importlib.import_module(f"interp.{package}")
        for name in sorted(module.__all__):
            offered = getattr(module, name)
            known = name in INSIDE[package].split() or name in doors or f"{package}.{name}" in doors
            if inspect.isfunction(offered) and not known:
                found.append(f"{package}.{name}")
    return found


def spoiled(table: pd.DataFrame, rng: random.Random) -> Any:
    """A table with something missing, doubled or of another kind."""
    column = rng.choice(list(table.columns))
    some = table.index[: rng.randint(1, max(1, len(table) - 1))]
    how = rng.randrange(9)
    if how == 0:
        return table.drop(columns=column)
    if how == 1:
        return table.iloc[:0]
    if how == 2:
        return pd.concat([table, table.loc[some]])
    if how == 3:
        return table.drop(index=some)
    if how == 4:
        return table.astype({column: object}).assign(**{column: rng.choice([None, "x", 7])})
    if how == 5:
        return table.rename(columns={column: f"{column}x"})
    if how == 6:
        return table.set_index(column)
    if how == 7:
        return table.to_dict()
    changed = table.astype({column: object})
    changed.loc[some, column] = rng.choice([None, float("nan"), float("inf"), "x", -1])
    return changed


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    """Raise TimeoutError within a call that takes longer."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def run_counted() -> Iterator[list[int]]:
    """The lengths of what a model is run on: empty while none is."""
    import torch

    found: list[int] = []
    plain = torch.nn.Embedding.forward

    def counted(self: Any, tokens: Any) -> Any:
        found.append(int(tokens.shape[-1]) if tokens.ndim else 1)
        return plain(self, tokens)

    with patch.object(torch.nn.Embedding, "forward", counted):
        yield found
