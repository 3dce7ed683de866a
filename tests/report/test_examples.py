"""Which examples are shown, and what of their answers: against a loop over the records."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import event, given, strategies as st

from interp.report.asked import asked_tasks
from interp.report.examples import (
    LONGEST_ANSWER,
    OUTCOMES,
    _cut,
    choose,
    first_difference,
    shown_examples,
)


@given(
    st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=60),
    st.integers(1, 12),
    st.integers(0, 9),
)
def test_changed_examples_come_first_and_in_turns(names, most, seed):
    outcomes = pd.Series(names, index=[3 * i for i in range(len(names))])
    chosen = choose(outcomes, most, seed=[seed])
    assert len(chosen) == len(set(chosen)) == min(most, len(names))
    assert chosen == choose(outcomes, most, seed=[seed])
    kinds = [outcomes[one] for one in chosen]
    assert kinds == sorted(kinds, key=OUTCOMES.index)
    count = {name: (names.count(name), kinds.count(name)) for name in OUTCOMES}
    harmed, helped = count["harmed"], count["helped"]
    # neither takes the other's place while it has one left
    both_left = harmed[1] < harmed[0] and helped[1] < helped[0]
    event("some of both are left" if both_left else "one kind is used up")
    assert not both_left or abs(harmed[1] - helped[1]) <= 1
    for before, after in ((harmed, count["other"]), (helped, count["other"]),
                          (count["other"], count["same"])):  # fmt: skip
        assert after[1] == 0 or before[1] == before[0]


def test_the_draw_is_fair():
    outcomes = pd.Series(["harmed"] * 10)
    drawn = [one for seed in range(400) for one in choose(outcomes, 3, seed=[seed])]
    share = np.bincount(drawn, minlength=10) / 400
    assert abs(share - 0.3).max() < 0.09  # 4 standard errors of a share of 0.3


@given(st.text("ab c\n", max_size=12), st.text("ab c\n", max_size=12), st.text("ab ", max_size=6))
def test_the_first_difference_is_the_first_word_that_differs(one, other, common):
    one, other = common + one, common + other
    place = first_difference(one, other)
    assert one[:place] == other[:place]
    if one == other:
        assert place == len(one)
        return
    # a whole word further on, and the texts are no longer equal
    assert place == 0 or one[place - 1].isspace()
    ends = [next((i for i in range(place, len(t)) if t[i].isspace()), len(t)) for t in (one, other)]
    assert one[: max(ends) + 1] != other[: max(ends) + 1]


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_long_answers_are_cut_around_their_difference(length, place):
    text = "".join(chr(97 + i % 26) for i in range(length))
    place = min(place, length)
    answer = _cut(text, place, "note")
    kept = (answer.common + answer.rest).strip("\N{HORIZONTAL ELLIPSIS}")
    assert kept in text
    assert len(kept) == min(length, LONGEST_ANSWER)
    assert answer.note.startswith("note")
    assert ("characters" in answer.note) == (length > LONGEST_ANSWER)
    rest = answer.rest.strip("\N{HORIZONTAL ELLIPSIS}")
    assert text[place:].startswith(rest)
    assert bool(rest) == (place < length)


@pytest.mark.slow
def test_outcomes_and_answers_are_those_of_the_records(run, tasks):
    asked = asked_tasks(run, given=tasks)
    names = [f"layer:{layer}" for layer in range(3)]
    seen = set()
    for task, metric in (("tiny-texts", "acc"), ("tiny-generate", "exact_match")):
        rows = run.responses(tasks=task)
        by_key = {(r["ablation"], r["doc_id"]): r for r in rows.to_dict("records")}
        found = dict(
            shown_examples(run, task, metric=metric, ablations=names, asked=asked[task], most=1000)
        )
        assert list(found) == names
        documents = asked[task].task.documents()
        for ablation, shown in found.items():
            counts = dict.fromkeys(OUTCOMES, 0)
            assert len(shown.examples) == len(documents)
            for example in shown.examples:
                before = by_key["baseline", example.doc_id]
                after = by_key[ablation, example.doc_id]
                answers = []
                for row, answer in ((before, example.baseline), (after, example.ablated)):
                    if task == "tiny-generate":
                        expected = row["text"]
                    else:
                        expected = documents[example.doc_id]["choices"][
                            int(np.argmax(row["loglikelihoods"]))
                        ]
                    assert answer.common + answer.rest == expected
                    answers.append(expected)
                if after[metric] < before[metric]:
                    outcome = "harmed"
                elif after[metric] > before[metric]:
                    outcome = "helped"
                else:
                    outcome = "same" if answers[0] == answers[1] else "other"
                assert example.outcome == outcome
                assert example.target == before["target"]
                counts[outcome] += 1
            assert shown.counts == counts
            seen |= {name for name, count in counts.items() if count}
            few = dict(
                shown_examples(
                    run, task, metric=metric, ablations=[ablation], asked=asked[task], most=3
                )
            )[ablation]
            assert few.counts == counts
            assert [e for e in shown.examples if e in few.examples] == list(few.examples)
    assert len(seen) >= 3  # or the comparison has seen too little
