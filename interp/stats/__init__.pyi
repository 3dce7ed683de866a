from .agreement import (
    ceiling_of as ceiling_of,
    crossed as crossed,
    disattenuated as disattenuated,
    reliability as reliability,
    shapes_differ as shapes_differ,
)
from .clusters import (
    design_effect as design_effect,
    design_effects as design_effects,
)
from .detectability import (
    NOTICEABLE as NOTICEABLE,
    before_running as before_running,
    findable as findable,
    nothing_found as nothing_found,
)
from .distributions import (
    fisher_exact_p as fisher_exact_p,
    hypergeometric as hypergeometric,
    student_p as student_p,
    student_reach as student_reach,
)
from .factorial import (
    Cell as Cell,
    Contrast as Contrast,
    cells_of as cells_of,
    factorial_contrasts as factorial_contrasts,
    factorial_effects as factorial_effects,
)
from .failures import (
    NO_INTERVAL as NO_INTERVAL,
    say_left_out as say_left_out,
)
from .floors import (
    measured_floor as measured_floor,
    shares_lost as shares_lost,
)
from .intervals import (
    MIN_RARE as MIN_RARE,
    bootstrap_means as bootstrap_means,
    drop_intervals as drop_intervals,
    mean_intervals as mean_intervals,
    percentiles as percentiles,
    simultaneous as simultaneous,
    tango as tango,
    wilson as wilson,
)
from .kept import (
    RemovalCurve as RemovalCurve,
    removal_curve as removal_curve,
    share_kept as share_kept,
    share_kept_difference as share_kept_difference,
)
from .layer_ranks import (
    layer_correlations as layer_correlations,
)
from .margins import (
    equivalence as equivalence,
)
from .paired_contrasts import (
    contrasts as contrasts,
)
from .perplexity import (
    perplexity_drops as perplexity_drops,
    perplexity_scores as perplexity_scores,
)
from .profiles import (
    compare_profiles as compare_profiles,
    compared as compared,
    drops_by_document as drops_by_document,
    drops_sample as drops_sample,
    resampled_profile as resampled_profile,
    unit_name as unit_name,
)
from .pvalues import (
    CORRECTIONS as CORRECTIONS,
    adjust as adjust,
    check_correction as check_correction,
    mcnemar as mcnemar,
    mean_test as mean_test,
    sign_flip as sign_flip,
)
from .ranks import (
    spearman as spearman,
)
from .ratios import (
    NO_RATIO as NO_RATIO,
    Means as Means,
    Ratio as Ratio,
    difference_of as difference_of,
    fieller as fieller,
    means_of as means_of,
)
from .removal import (
    removable as removable,
)
from .rounding import (
    rounding_floor as rounding_floor,
    with_rounding as with_rounding,
)
from .sample_size import (
    examples_needed as examples_needed,
    least_detectable as least_detectable,
    power as power,
    power_table as power_table,
    smallest_p as smallest_p,
)
from .samples import (
    BASELINE as BASELINE,
    MOST_RESAMPLES as MOST_RESAMPLES,
    SERIES as SERIES,
    Sample as Sample,
    check_columns as check_columns,
    check_loglikelihoods as check_loglikelihoods,
    check_options as check_options,
    check_paired as check_paired,
    check_values as check_values,
    sample_by as sample_by,
    sample_of as sample_of,
    series as series,
)
from .selection import (
    expected_excess as expected_excess,
)
from .skewness import (
    unit_values as unit_values,
)
from .steps import (
    step_interval as step_interval,
)
from .streaming import (
    StreamingError as StreamingError,
    StreamingMean as StreamingMean,
    poisson_weights as poisson_weights,
)
from .student import (
    student_interval as student_interval,
    student_test as student_test,
)
from .tables import (
    family_of as family_of,
    importance as importance,
    scores as scores,
)
from .ties import (
    WITHIN as WITHIN,
    near_ties as near_ties,
)
from .two_way import (
    TwoWay as TwoWay,
    fit_two_way as fit_two_way,
    variance_components as variance_components,
)
from .weighted import (
    FROM_RATIO as FROM_RATIO,
    weighted_losses as weighted_losses,
)

__all__ = [
    "BASELINE",
    "CORRECTIONS",
    "Cell",
    "Contrast",
    "FROM_RATIO",
    "MIN_RARE",
    "MOST_RESAMPLES",
    "Means",
    "NOTICEABLE",
    "NO_INTERVAL",
    "NO_RATIO",
    "Ratio",
    "RemovalCurve",
    "SERIES",
    "Sample",
    "StreamingError",
    "StreamingMean",
    "TwoWay",
    "WITHIN",
    "adjust",
    "before_running",
    "bootstrap_means",
    "ceiling_of",
    "cells_of",
    "check_loglikelihoods",
    "check_options",
    "check_paired",
    "compare_profiles",
    "compared",
    "contrasts",
    "crossed",
    "design_effect",
    "design_effects",
    "difference_of",
    "disattenuated",
    "drop_intervals",
    "drops_by_document",
    "drops_sample",
    "equivalence",
    "examples_needed",
    "expected_excess",
    "factorial_contrasts",
    "factorial_effects",
    "family_of",
    "fieller",
    "findable",
    "fit_two_way",
    "importance",
    "layer_correlations",
    "least_detectable",
    "mcnemar",
    "mean_intervals",
    "mean_test",
    "means_of",
    "measured_floor",
    "near_ties",
    "nothing_found",
    "percentiles",
    "perplexity_drops",
    "perplexity_scores",
    "poisson_weights",
    "power",
    "power_table",
    "reliability",
    "removal_curve",
    "removable",
    "resampled_profile",
    "sample_by",
    "sample_of",
    "say_left_out",
    "rounding_floor",
    "scores",
    "series",
    "shapes_differ",
    "share_kept",
    "share_kept_difference",
    "shares_lost",
    "sign_flip",
    "simultaneous",
    "smallest_p",
    "spearman",
    "step_interval",
    "student_interval",
    "student_test",
    "tango",
    "unit_name",
    "unit_values",
    "variance_components",
    "weighted_losses",
    "wilson",
    "with_rounding",
]
