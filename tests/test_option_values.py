"""Options of a wrong type or size end in one line, whichever public call they are given to."""

import pytest

from tests.helpers.task_files import write_task
from tests.helpers.unchecked import outcomes

SETUP = """
import interp
from interp import figures, similarity, stats
from interp.attention import attention_rows, retrieval_heads
from interp.results import result_line
from interp.similarity import layer_similarity
from interp.tasks import load_task, with_draws
from tests.helpers.families import tiny_bridge
model, nan = tiny_bridge("llama"), float("nan")
run = interp.sweep(model, [TASK], ["layer:0"], limit=4)
texts = ["w5 w6", "w7 w8 w9"]
"""
WRONG = [
    *(f"interp.generate(model, 'w5', {name}={value})"
      for name, values in {
          "max_new_tokens": ("[]", "nan", "1.5", "True"),
          "until": ("[1]", "nan", "['']"),
          "temperature": ("[]", "nan", "10**30", "'x'", "-1"),
          "draws": ("[]", "nan"),
          "seed": ("[]", "-1"),
      }.items() for value in values),
    *(f"interp.logit_lens(model, TASK, limit=2, {name}={value})"
      for name, values in {
          "tuned": ("[1]",),
          "steps": ("[]", "3"),
          "resamples": ("[]", "nan", "True", "-1", "0", "10**30"),
      }.items() for value in values),
    *(f"layer_similarity(model, texts, {name}={value})"
      for name, values in {
          "resamples": ("[]", "True", "-1", "0", "10**30"),
          "confidence": ("[]", "nan", "'x'", "1", "0.0"),
      }.items() for value in values),
    "retrieval_heads(model, TASK, limit=2, copied_only=7)",
    "attention_rows(model, 'w5 w6', queries=nan)",
    "attention_rows(model, 'w5 w6', queries='x')",
    "stats.compare_profiles('x')",
    "run.design_effects(given='\\n')",
    "interp.lens.prompt_grid(model, 'w5 w6', tuned=[1])",
    "attention_rows(model, 'w5 w6', piece=[])",
    "attention_rows(model, 'w5 w6', piece=0)",
    "load_task(TASK, metrics=[1])",
    "load_task(TASK, metrics='acc')",
    *(f"run.importance({option})"
      for option in ("metric=nan", "confidence=[]", "confidence='x'", "resamples=[]",
                     "resamples=10**30", "resamples=1.5", "correction=[]")),
    "run.scores(confidence=nan)",
    "stats.scores(run.values(), ablations=0.5)",
    "figures.retrieval_map(None, mark=1.5)",
    "figures.heatmap(run, drop={})",
    "figures.save(figures.heatmap(run), 'x', formats=[{}])",
    "run.summary(top=[])",
    "result_line('run')",
    "run.summary(margin='x')",
    "run.equivalence(margin=[])",
    "run.equivalence(margin=5, confidence=[])",
    *(f"run.ties(within={value})" for value in ("nan", "-1", "[nan]", "'x'", "True")),
    *(f"run.values({name}={value})"
      for name in ("tasks", "ablations") for value in ("[]", "{}", "True", "nan", "[1]", "b'x'")),
    *(f"stats.{call}" for call in (
        "variance_components(None)", "variance_components(run.values(), over=[1])",
        "near_ties(7)", "power('x', 5)", "least_detectable(100, wanted={})",
        "measured_floor([], [])",
        "examples_needed(5, wanted={})", "importance(run.values(), floors=3)",
        "design_effects(run.values(), None)", "removal_curve(7, [])",
        "layer_correlations(run.values(), '')")),
    *(f"similarity.{call}" for call in (
        "greedy_removal(model, TASK, most='x', out='o')", "at_random(3, 1, draws='x')",
        "by_influence([], 1)", "by_importance(nan, 1)", "curve_table(run, 7)",
        "downstream_effects(model, nan)", "pruning_curves(model, TASK, -1, out='o')",
        "greedy_removal(model, TASK, most=1, metric=[1], out='o')")),
    "interp.compare(0.5, TASK, out='o')",
    "interp.compare({'a': model, 'b': model}, TASK, ablations=3, out='o')",
    "interp.twins(model, TASK, by=3)",
    "interp.tasks.halves_of_pairs('x')",
    "interp.ablations.family(nan, model)",
    "interp.Order(None)",
    "interp.open_run('x' * 5000)",
    "interp.open_run('\\ud800')",
    "interp.results.kind_of('x' * 300)",
    "interp.results.export_tables('x', 'o')",
    "interp.lens.depths('x')",
    "interp.load_model('organism:base', dtype={})",
    "figures.drops(run, labels=0.5)",
    "interp.parse([1])",
    "interp.parse(None)",
    *(f"interp.generate(model, {prompt})" for prompt in ("2", "None", "[{}, 'x']", "b'w5'")),
    *(f"interp.cumulative(model, {order})" for order in ("[]", "nan", "'x'", "['x']")),
    "with_draws([{}], temperature=1.0)",
    "layer_similarity(model, None)",
    "layer_similarity(model, [1])",
    *(f"figures.drops(run, {option})"
      for option in ("width='x'", "width=10**9", "width=nan", "width=0", "ylim=3", "ylim=(1, 1)",
                     "ylim='ab'", "ax=b'x'", "tasks=0", "tasks=[1]")),
]  # fmt: skip


@pytest.mark.slow
def test_options_of_a_wrong_type_or_size_are_refused_in_one_line(tmp_path):
    found = outcomes(f"TASK = {str(write_task(tmp_path))!r}\n" + SETUP, WRONG)
    raw = {one: end for one, end in found.items() if not end.startswith("UserError: ")}
    assert not raw
    assert not [end for end in found.values() if "\n" in end]
