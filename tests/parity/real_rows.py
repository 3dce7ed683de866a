"""Real rows of public benchmarks, and a few of our own in the shape of those that are not there."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.helpers.shared import SHARED

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


def whole_mmlu(
    folder: Path, subjects: Sequence[str], *, most: int, seed: int = 0
) -> tuple[Path, Path]:
    """All subjects of MMLU: the real rows, and made ones of the subjects that are not there.

    Args:
        folder: where.
        subjects: all of them, as the hub names its configurations.
        most: real rows of a subject that are asked; of its worked examples all are there.
        seed: of the made rows, one to seven a subject.

    Returns:
        A folder for `--data` (one file a split), and one in which `datasets` finds `cais/mmlu`
        instead of asking the hub (one file a subject and split).
    """
    rng = random.Random(seed)
    ours, hub = folder / "data", folder / "hub"
    (ours / "mmlu").mkdir(parents=True)
    (hub / "cais/mmlu").mkdir(parents=True)
    configurations = {s: {"config_name": s, "data_files": []} for s in subjects}
    for split in ("dev", "test"):
        lines = (DATA / f"mmlu/{split}.jsonl").read_text().split("\n")
        rows = [json.loads(line) for line in lines if line]
        real = {str(row["subject"]) for row in rows}
        if split == "test":
            kept = [[row for row in rows if row["subject"] == one][:most] for one in sorted(real)]
            rows = [row for of_subject in kept for row in of_subject]
        for subject in subjects:
            if subject not in real:
                rows += [_made_question(subject, rng) for _ in range(rng.randint(1, 7))]
        _write(ours / "mmlu" / f"{split}.jsonl", [json.dumps(row) for row in rows])
        for subject in subjects:
            own = [json.dumps(row) for row in rows if row["subject"] == subject]
            _write(hub / "cais/mmlu" / f"{subject}-{split}.jsonl", own)
            file = {"split": split, "path": f"{subject}-{split}.jsonl"}
            configurations[subject]["data_files"].append(file)
    card = yaml.safe_dump({"configs": list(configurations.values())})
    (hub / "cais/mmlu/README.md").write_text(f"---\n{card}---\n")
    return ours, hub


def _made_question(subject: str, rng: random.Random) -> dict[str, object]:
    choices = [" ".join(rng.choices(WORDS, k=rng.randint(1, 4))) for _ in range(4)]
    question = " ".join(rng.choices(WORDS, k=rng.randint(3, 12)))
    return {"question": question, "choices": choices, "answer": rng.randrange(4),
            "subject": subject}  # fmt: skip


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines))
