"""A run in one line."""

from interp.results.listing import counted


def test_one_of_a_thing_is_no_plural():
    assert [counted(n, "ablation") for n in (0, 1, 2, 1200)] == [
        "0 ablations", "1 ablation", "2 ablations", "1,200 ablations",
    ]  # fmt: skip
