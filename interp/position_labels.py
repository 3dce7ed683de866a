"""Words for what causal tracing acts on: classes of positions, and activations."""

SITES = {
    "resid": "residual stream",
    "attn": "attention",
    "mlp": "MLP",
    "head": "head",
}
"""Activations that a patch takes from a twin."""


def site_label(site: str) -> str:
    """Words for the activation that a patch takes from the twin (`resid`: residual stream).

    Args:
        site: As in the text form, `resid`, `attn`, `mlp` or `head`.

    Returns:
        Words for the middle of a sentence.
    """
    return SITES.get(site, site)


def class_label(names: str) -> str:
    """Words for a class of positions, or several (`gold-key,last`: gold key and last).

    Args:
        names: As in the text form.

    Returns:
        Words for the middle of a sentence.
    """
    return " and ".join(name.replace("-", " ") if name[:1].isalpha() else name
                        for name in names.split(","))  # fmt: skip


def cut_label(classes: str) -> str:
    """Words over the panel of a cut: which positions cannot attend to which.

    Args:
        classes: As in the text form, `answering/gold`.

    Returns:
        Words that begin with a capital letter.
    """
    queries, _, keys = classes.partition("/")
    words = f"{class_label(queries)} to {class_label(keys)}"
    return words[:1].upper() + words[1:]


def cut_words(classes: str) -> str:
    """Words for what a cut hides from what: `answering/gold`.

    Args:
        classes: As in the text form.

    Returns:
        Words for the middle of a sentence.
    """
    queries, _, keys = classes.partition("/")
    return f"cut from {class_label(queries)} to {class_label(keys)}"
