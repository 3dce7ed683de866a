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
