"""Real rows of public benchmarks, and a few of our own in the shape of those that are not there."""

import json
import random
from pathlib import Path

from tests.conftest import SHARED

DATA, STORIES = SHARED / "data", SHARED / "models" / "stories260K"
# folder there; where it goes here; the split that is asked
REAL = [
    ("hellaswag", "hellaswag", "validation"),
    ("mathqa", "mathqa", "test"),
    ("arc_easy", "ai2_arc/ARC-Easy", "test"),
    ("arc_easy", "ai2_arc/ARC-Challenge", "test"),
    ("gsm8k", "gsm8k", "test"),
    ("qasc", "qasc", "validation"),
    ("nq_open_oracle", "nq-open-oracle", "test"),
]
WORDS = "river stone lamp green small walks sings the house a dog near bright".split()  # noqa: SIM905


def lay_out(folder: Path, *, rows: int = 24, worked: int = 8) -> Path:
    """Write the rows under a folder as `--data` wants them: `train` with examples, and the split.

    Args:
        folder: where.
        rows: asked, of each benchmark (of MMLU, all rows).
        worked: in the train split.
    """
    for source, place, split in REAL:
        (file,) = (DATA / source).glob(f"{split}.jsonl")
        lines = [line for line in file.read_text().split("\n") if line][: rows + worked]
        (folder / place).mkdir(parents=True)
        _write(folder / place / "train.jsonl", lines[:worked])
        _write(folder / place / f"{split}.jsonl", lines[worked:])
    for split in ("dev", "test"):
        (folder / "mmlu").mkdir(exist_ok=True)
        (folder / "mmlu" / f"{split}.jsonl").write_bytes(
            (DATA / f"mmlu/{split}.jsonl").read_bytes()
        )
    for name, split, made in invented(rows + worked):
        (folder / name).mkdir(parents=True)
        lines = [json.dumps(row) for row in made]
        _write(folder / name / "train.jsonl", lines[:worked])
        _write(folder / name / f"{split}.jsonl", lines[worked:])
    return folder


def invented(count: int, *, seed: int = 0) -> list[tuple[str, str, list[dict[str, object]]]]:
    """Rows of random words with the hub's fields: folder, split, rows."""
    rng = random.Random(seed)

    def words(least: int, most: int) -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(least, most)))

    def labelled(n: int) -> dict[str, object]:
        return {"text": [words(1, 5) for _ in range(n)], "label": list("ABCDEFGH"[:n])}

    return [
        (
            "winogrande",
            "validation",
            [
                {
                    "sentence": f"{words(2, 5)} _ {words(2, 5)}.",
                    "option1": words(1, 2),
                    "option2": words(1, 2),
                    "answer": rng.choice("12"),
                }
                for _ in range(count)
            ],
        ),
        (
            "piqa",
            "validation",
            [
                {"goal": words(3, 6), "sol1": words(2, 6), "sol2": words(2, 6), "label": n % 2}
                for n in range(count)
            ],
        ),
        (
            "boolq",
            "validation",
            [
                {"passage": words(8, 20), "question": words(3, 6), "label": n % 2}
                for n in range(count)
            ],
        ),
        (
            "openbookqa",
            "test",
            [
                {
                    "id": str(n),
                    "question_stem": words(3, 8),
                    "choices": labelled(4),
                    "answerKey": rng.choice("ABCD"),
                    "fact1": words(4, 8),
                }
                for n in range(count)
            ],
        ),
        (
            "nq_open",
            "validation",
            [{"question": words(3, 8), "answer": [words(1, 2), words(1, 2)]} for _ in range(count)],
        ),
    ]


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines))
