"""A tiny key-value retrieval task whose pairs are known word by word."""

from interp.tasks import PLAIN, task_of_rows

CONFIG = {
    "output_type": "generate_until",
    "doc_to_text": "w60 {{pairs_text}} w61 {{key}}",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["w62"], "max_gen_toks": 4},
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def make_task(rows=5):
    """Values of one to three words: the same words in other values must not count."""
    made = []
    for n in range(rows):
        pairs = [("w5 w6", "w20"), ("w7", "w21 w22 w23"), ("w8", "w20 w23"), ("w9 w10", "w22")]
        gold = n % 4
        made.append({"pairs": pairs, "pairs_text": PLAIN.write(pairs)[0], "key": pairs[gold][0],
                     "gold_position": gold, "answer": pairs[gold][1]})  # fmt: skip
    return task_of_rows("tiny-kv:generate", made, CONFIG)


PAIRS = [("w5 w6", "w20"), ("w7", "w21 w22 w23"), ("w8", "w20 w23"), ("w9 w10", "w22")]
SCORED = {
    "doc_to_text": CONFIG["doc_to_text"],
    "output_type": "multiple_choice",
    "doc_to_choice": "options",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
}


def scored_task(rows=3):
    made = []
    for gold in range(rows):
        key, answer = PAIRS[gold]
        options = [value for _, value in PAIRS]
        made.append({"pairs": PAIRS, "pairs_text": PLAIN.write(PAIRS)[0], "key": key,
                     "gold_position": gold, "answer": answer, "options": options,
                     "gold": gold})  # fmt: skip
    return task_of_rows("tiny-kv:continuation", made, SCORED)


def classes(gold):
    """How long the prompt is whose pair number `gold` is asked for, and where its classes are.

    It is `<s> w60 w5 w6 w20 w7 w21 w22 w23 w8 w20 w23 w9 w10 w22 w61 KEY`, counted by hand.
    """
    keys = [{2, 3}, {5}, {9}, {12, 13}]
    values = [{4}, {6, 7, 8}, {10, 11}, {14}]
    length = 16 + len(PAIRS[gold][0].split())
    return length, {
        "gold": values[gold],
        "gold-key": keys[gold],
        "distractors": set().union(*(v for i, v in enumerate(values) if i != gold)),
        "key": set(range(16, length)),
        "last": {length - 1},
        "answering": set(range(length - 1, 64)),
    }
