"""What prints an interval or a p-value, and the rows of `table.csv` that try it.

A test holds both together: whatever puts such a column into a table has a row here, and every row
that is named here is in the table.
"""

DROPS = (
    "drop of a 0/1 metric", "mid-p McNemar, one ablation", "mean of continuous drops",
    "mid-p McNemar, any of a family (Holm)", "drop, by cluster", "sign flips by cluster",
    "band for all ablations", "excess of the largest drop",
)  # fmt: skip
SCORES = ("score, kind of error", "mean of continuous drops", "score, by cluster")
STREAMED = ("Poisson bootstrap (lens, attribution, influence)",)
CORRELATED = ("disattenuated correlation of profiles", "noise ceiling", "profiles differ in shape")
LOSSES = ("loss of texts, nats a token", "difference of losses of texts")
PERPLEXITIES = ("perplexity", "difference of perplexities")
WEIGHED = ("recovery by a patch, pairs and clusters", "recovery, all patches together")

TRIED: dict[str, tuple[str, ...]] = {
    "attention/contrast.py: removal_contrasts": (
        "top heads minus one control", "top heads minus the mean of all controls",
    ),
    "attention/heads.py: RetrievalHeads.table": ("score of a head",),
    "attention/query_focus.py: QueryFocus.table": ("score of a head",),
    "attention/query_focus.py: head_agreement": (
        "agreement of two scores of heads, disattenuated",
    ),
    "attention/skills.py: overlap": (*CORRELATED, "correlation of heads within layers"),
    "attention/skills.py: shared_heads": ("shared important heads",),
    "comparison/depth.py: centres": ("centre of importance", "spread of importance"),
    "comparison/depth.py: shifts": ("shift of the centre", "shift of the spread"),
    "comparison/model_differences.py: _pair": (
        "difference of drops of two models", "difference of drops of two models (sign flips)",
        "difference of drops, whole steps", "mean of continuous drops",
    ),
    "comparison/profile_correlations.py: correlations": CORRELATED,
    "comparison/removal_robustness.py: robustness": ("robustness", "area under a removal curve"),
    "comparison/removal_robustness.py: robustness_differences": ("difference of robustness",),
    "lens/attribution.py: direct_logit_attribution": STREAMED,
    "lens/repairing.py: effect_intervals": (
        "self-repair: direct", "self-repair: total", "self-repair: later", "self-repair: norm",
        "self-repair: repair", "self-repair: repaired", "self-repair: direct, by cluster",
        "self-repair: total, by cluster", "self-repair: repair, by cluster",
        "self-repair: repaired, by cluster",
    ),
    "lens/repairing.py: _changes_table": ("self-repair: change of one later part",),
    "lens/result.py: Lens.table": STREAMED,
    "lens/result.py: Lens.decided": ("share of examples decided (lens)",),
    "lens/result.py: Lens.decision_depth": ("decision depth (lens)",),
    "lens/result.py: decision_difference": ("difference of decision depths (lens)",),
    "results/answer_sources.py: _of_task": (
        "passage or weights: one change", "passage or weights: all changes",
        "passage or weights: any null part named",
    ),
    "results/lost.py: shared_losses": (
        "lost examples that are shared", "lost examples are independent (Fisher)",
        "lost examples that are shared, by cluster", "lost examples are independent, by cluster",
    ),
    "results/pair_effects.py: _rows": ("interaction of two parts",),
    "results/patch_recovery.py: recovery": (*WEIGHED, "recovery by a patch",
                                            "score, kind of error"),
    "results/wrong_answers.py: kinds_of_error": ("score, kind of error", "score, by cluster"),
    "similarity/cka.py: CkaSums.table": ("linear CKA", "linear CKA, by cluster"),
    "similarity/downstream.py: downstream_effects": (
        "downstream effect, influence of a sublayer",
    ),
    "similarity/layers.py: _table": STREAMED,
    "similarity/shapley.py: _of_series": ("Shapley value of a layer",),
    "similarity/sublayer_influence.py: influence_by_part": (
        "downstream effect, influence of a sublayer",
    ),
    "stats/clusters.py: design_effects": ("a field of the rows goes with drops",),
    "stats/factorial.py: _row": (
        "factorial, points: readout: greedy - likelihood",
        "factorial, points: candidates: vocabulary - options",
        "factorial, points: readout: greedy - likelihood x candidates: vocabulary - options",
        "factorial, shares: readout: greedy - likelihood",
        "factorial, shares: candidates: vocabulary - options",
        "factorial, shares: readout: greedy - likelihood x candidates: vocabulary - options",
    ),
    "stats/layer_ranks.py: _correlation": (
        "a measure of layers goes with drops", "noise ceiling",
    ),
    "stats/margins.py: equivalence": ("equivalence by Tango, a drop at the margin",),
    "stats/perplexity.py: perplexity_scores": PERPLEXITIES[:1],
    "stats/perplexity.py: perplexity_drops": PERPLEXITIES[1:],
    "stats/profiles.py: compared": CORRELATED,
    "stats/removal.py: removable": (
        "steps that keep a score: too many", "steps that lose a score: too many",
    ),
    "stats/tables.py: scores": SCORES,
    "stats/tables.py: paired_drops": DROPS,
    "stats/tables.py: _as_shares": ("floor-aware drop", "relative drop"),
    "stats/two_way.py: _numbers": ("drop over prompts and examples", "prompts differ"),
    "stats/weighted.py: loss_row": LOSSES,
    "sweeps/two_stages.py: found_heads": (
        "patch search: all intervals of the second half together",
        "patch search: any null head found",
    ),
}  # fmt: skip
"""File and function of `interp` to the rows of what it prints."""

OF_RATIOS = {
    "stats/kept.py: share_kept": ("share kept along a curve",),
    "stats/kept.py: share_kept_difference": (
        "difference of shares kept, same examples", "difference of shares kept, other examples",
    ),
}  # fmt: skip
"""What gives its bounds as attributes instead of columns."""

PASSED_ON: dict[str, str] = {
    "attention/contrast.py: removal_curve": "stats/tables.py: scores",
    "attention/gold_position.py: by_gold_position": "stats/tables.py: scores",
    "attention/heads.py: RetrievalHeads._best": "attention/heads.py: RetrievalHeads.table",
    "comparison/model_differences.py: differences": "comparison/model_differences.py: _pair",
    "comparison/model_differences.py": "comparison/model_differences.py: _pair",
    "comparison/result.py": "comparison/model_differences.py: _pair",
    "comparison/swaps.py": "stats/tables.py: paired_drops",
    "comparison/variation.py": "stats/two_way.py: _numbers",
    "lens/attribution.py: head_table": "lens/attribution.py: direct_logit_attribution",
    "lens/repairing.py": "lens/repairing.py: effect_intervals",
    "lens/repairing.py: SelfRepair.__repr__": "lens/repairing.py: effect_intervals",
    "lens/result.py: Lens._decisions": "lens/result.py: Lens.decision_depth",
    "results/by_field.py: importance_by": "stats/tables.py: paired_drops",
    "results/columns.py": "stats/tables.py: paired_drops",
    "results/columns.py: short": "stats/tables.py: paired_drops",
    "results/design_effects.py": "stats/clusters.py: design_effects",
    "results/direction.py: positive_is_damage": "stats/tables.py: paired_drops",
    "results/latex.py: importance_latex": "stats/tables.py: paired_drops",
    "results/latex.py: scores_latex": "stats/tables.py: scores",
    "results/lost.py": "results/lost.py: shared_losses",
    "results/lost.py: lost_together": "results/lost.py: shared_losses",
    "results/pair_effects.py: _adjusted": "results/pair_effects.py: _rows",
    "results/pair_effects.py: scope_parts": "results/pair_effects.py: _rows",
    "results/replacement_drops.py: replacement_table": "stats/tables.py: paired_drops",
    "results/summary.py": "stats/tables.py: paired_drops",
    "results/summary.py: _baseline_line": "stats/tables.py: scores",
    "results/summary.py: result_line": "stats/tables.py: paired_drops",
    "results/wrong_answers.py: what_instead": "results/wrong_answers.py: kinds_of_error",
    "similarity/cka.py: no_cka": "similarity/cka.py: CkaSums.table",
    "similarity/layers.py: Similarity.table": "similarity/layers.py: _table",
    "similarity/removal.py: Removal.__repr__": "stats/tables.py: paired_drops",
    "stats/detectability.py: findable": "stats/tables.py: paired_drops",
    "stats/factorial.py: factorial_effects": "stats/factorial.py: _row",
    "stats/profiles.py: _interval_name": "stats/profiles.py: compared",
    "stats/profiles.py: compare_profiles": "stats/profiles.py: compared",
    "stats/tables.py": "stats/tables.py: paired_drops",
    "stats/two_way.py": "stats/two_way.py: _numbers",
    "stats/two_way.py: _rows": "stats/two_way.py: _numbers",
    "stats/two_way.py: fit_two_way": "stats/two_way.py: _numbers",
    "stats/two_way.py: variance_components": "stats/two_way.py: _numbers",
    "stats/weighted.py: weighted_losses": "stats/weighted.py: loss_row",
    "sweeps/two_stages.py: chosen_layers": "results/patch_recovery.py: recovery",
}
"""What shows, or fills in, the numbers of another: to the one that computes them."""

SAID: dict[str, str] = {
    "spread of importance": "comparison/depth.py",
    "mean of continuous drops": "stats/pvalues.py stats/skewness.py",
    "mean of continuous drops, at 0.5%": "stats/pvalues.py",
    "profiles differ in shape": "stats/agreement.py",
    "relative drop": "stats/floors.py",
    "steps that lose a score: too many": "stats/removal.py",
    "interaction of two parts": "stats/paired_contrasts.py",
    "Shapley value of a layer": "similarity/shapley.py",
    "score, kind of error": "stats/intervals.py",
    "loss of texts, nats a token": "stats/weighted.py",
    "difference of losses of texts": "stats/weighted.py",
    "lost examples that are shared": "results/lost.py",
    "Poisson bootstrap (lens, attribution, influence)": "stats/streaming.py",
    "linear CKA, by cluster": "similarity/cka.py",
    "factorial, points: readout: greedy - likelihood x candidates: type - options": (
        "stats/factorial.py"
    ),
    "agreement of two scores of heads, disattenuated": "stats/agreement.py",
}
"""Rows below 93% or above 6% to the files of `interp` whose docstrings say the figures."""
