"""Repairs of silently wrong numbers, and what undoes each: the list of `mutations.py`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A repair in the code that is undone.

    Attributes:
        kind: the kind of fault, as readers of the results would name it.
        file: the file of the package.
        text: what stands there, once.
        replacement: what is put in its place.
        test: file and name of the test that must fail.
        group: repairs of one number are undone together.
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
        "sorted(end_tokens(decoder_of))",
        "list[int]()",
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
        "wide.drop(index=failed_without_ablation.tolist()).drop(columns=failed_ablations.tolist())",
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
    Mutation(
        "identity: state beside the parameters",
        "interp/models/hashing.py",
        "for name, tensor in (*named.items(), *more.items()):",
        "for name, tensor in root.named_parameters():",
        "tests/sweeps/test_kept_apart.py::test_buffers_are_part_of_the_weights",
        4,
    ),
    Mutation(
        "identity: tokenizer behaviour",
        "interp/sweeps/identity.py",
        "return _sha256([body, special, settings, tokens, tokenizer.decode(tokens)])",
        "return _sha256([body, special])",
        "tests/sweeps/test_kept_apart.py::test_a_tokenizer_that_reads_or_writes_otherwise_is_another",
        3,
    ),
    Mutation(
        "identity: what is asked",
        "interp/sweeps/plan.py",
        '"requests_sha256": requests.sha256}',
        '"requests_sha256": ""}',
        "tests/sweeps/test_kept_apart.py::test_a_changed_chat_template_changes_what_is_asked",
        4,
    ),
    Mutation(
        "missing weights: spare ones",
        "interp/models/checks.py",
        "elif spare:",
        "elif spare and not name:",
        "tests/models/test_checks.py::test_weights_that_do_not_fit_are_refused_by_name",
        2,
    ),
    Mutation(
        "not finite: answers",
        "interp/engine/generation/sampling.py",
        "return largest.where(finite, FAILED)",
        "return largest.where(finite | True, FAILED)",
        "tests/engine/test_not_finite.py::test_no_token_is_drawn_from_logits_that_are_not_finite",
        4,
    ),
    Mutation(
        "not finite: lens",
        "interp/lens/grid.py",
        "finite = top.values.isfinite()",
        "finite = top.values.isfinite() | True",
        "tests/similarity/test_not_finite.py::test_what_is_not_finite_has_no_token_and_no_entropy",
        3,
    ),
    Mutation(
        "not finite: similarity",
        "interp/similarity/states.py",
        "_refuse_not_finite(batch_states, source)",
        "batch_states.real()",
        "tests/similarity/test_not_finite.py::test_similarity_names_the_example_and_the_depth",
        4,
    ),
    Mutation(
        "not finite: traces",
        "interp/attention/tracing.py",
        "if not logits.isfinite().all():",
        "if not prompt.queries:",
        "tests/similarity/test_not_finite.py::test_a_trace_names_the_example",
        4,
    ),
    Mutation(
        "regimes: the context length by another name",
        "interp/models/checks.py",
        '    "seq_length",\n',
        "",
        "tests/models/test_checks.py::test_the_context_length_has_many_names",
        4,
    ),
    Mutation(
        "heads: a mean over its own columns",
        "interp/ablations/mean.py",
        "mean.view(decoder.n_heads, -1)",
        "mean[: decoder.n_heads * decoder.d_head].view(decoder.n_heads, -1)",
        "tests/ablations/test_head_widths.py::test_a_mean_is_over_the_heads_own_columns",
        4,
    ),
    Mutation(
        "metrics: a perplexity",
        "interp/stats/perplexity.py",
        'value=np.exp(-rows["value"])',
        'value=rows["value"]',
        "tests/tasks/test_metrics.py::"
        "test_a_perplexity_is_what_the_harness_makes_of_the_log_likelihoods",
        3,
    ),
    Mutation(
        "names: of exported files",
        "interp/results/export.py",
        "if len(plain) > LONGEST or plain.lower() in taken:",
        "if len(plain) > LONGEST:",
        "tests/results/test_export.py::test_names_of_files_never_collide",
        4,
    ),
    Mutation(
        "state: threads",
        "interp/ablations/one_thread.py",
        "if thread != this_thread:",
        "if thread is None:",
        "tests/ablations/test_kinds.py::test_a_second_thread_is_refused_in_one_line",
        4,
    ),
    Mutation(
        "figures: one baseline of two runs",
        "interp/figures/tables.py",
        'if len(set(rows["n"])) > 1 or rows["value"].max() - rows["value"].min() > 1e-9:',
        "if rows.empty:",
        "tests/figures/test_families.py::test_two_runs_of_one_model_share_their_baseline",
        4,
    ),
    Mutation(
        "figures: the name of an interval",
        "interp/figures/tables.py",
        "interval ({' or '.join(names)})",
        "interval (Wilson)",
        "tests/figures/test_families.py::test_intervals_are_those_of_the_table",
        3,
    ),
)
