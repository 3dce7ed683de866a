"""What a check of planted parts must say (`experiments.validity`)."""


def assert_all_found(rows):
    """Every planted part is found, and nothing else is."""
    wrong = [row for row in rows if row["missed"] or row["false_alarm"]]
    assert not wrong
    assert all(row["ranked_first"] for row in rows if "ranked_first" in row)
