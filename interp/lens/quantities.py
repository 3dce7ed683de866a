"""The quantities of one example by answer, step and depth, computed from a readout."""

import numpy as np
from jaxtyping import Bool, Float

from interp.lens.answers import Answer
from interp.lens.readout import Readout

QUANTITIES = {
    "right_logprob": "log-probability of the right answer, nats, summed over its tokens",
    "right_probability": "probability of the right answer",
    "right_logrank": "ln(1 + rank) of the right answer's tokens over the vocabulary, mean",
    "right_margin": "log-probability of the right answer minus that of its best rival, nats",
    "right_leads": "whether the right answer is ahead of all rivals",
    "chosen_logprob": "as right_logprob, for the answer that the last depth prefers",
    "chosen_logrank": "as right_logrank, for that answer",
    "chosen_margin": "as right_margin, for that answer",
    "chosen_leads": "as right_leads, for that answer",
    "wrong_logprob": "log-probability of the best wrong answer at this depth, nats",
    "wrong_logrank": "as right_logrank, for that answer",
    "entropy": "entropy of the prediction, nats, mean over the right answer's positions",
    "kl": "KL(prediction of the last depth || of this depth), nats, mean over these positions",
    "agreement": "share of these positions whose top token is the last depth's",
}
"""The quantities at each depth. The margin of the best wrong answer is minus `right_margin`."""

ANSWERS = ("right", "chosen")

BY_LAST_DEPTH = ("chosen", "kl", "agreement")
"""The beginnings of the names of quantities that compare with the last depth's prediction."""


def example_values(
    answer: Answer, tokens: tuple[int, ...], found: Readout, positions: "AnswerPositions"
) -> Float[np.ndarray, "depth quantities"]:
    """The quantities of one step of one example at every depth, in the order of `QUANTITIES`.

    With options, an option's log-probability is the sum over its tokens, and its rivals are the
    other options. In a text, the rival of each token is the best other token of the vocabulary. The
    margin of a step is the smallest margin of its tokens, and the step leads where all its tokens
    lead.

    Returns:
        `[depth, quantities]`; NaN where a quantity does not exist for the step.
    """
    vectors = positions.vectors[answer.right][list(tokens)]
    columns = (
        _option_columns(answer, found, positions)
        if answer.among_options
        else _text_columns(positions.reads[answer.right][list(tokens)], vectors, found)
    )
    top, final = found.top_ids[:, vectors, 0], found.top_ids[-1, vectors, 0]
    columns |= {
        "right_probability": np.exp(columns["right_logprob"]),
        "entropy": found.entropy[:, vectors].mean(axis=1),
        "kl": found.kl[:, vectors].mean(axis=1),
        "agreement": (top == final).mean(axis=1),
    }
    values = np.stack([columns[name].astype(float) for name in QUANTITIES], axis=1)
    finite = np.asarray(found.finite[:, np.concatenate(positions.vectors)].all(axis=1))
    values[~finite] = np.nan
    if not finite[-1]:
        values[:, [name.startswith(BY_LAST_DEPTH) for name in QUANTITIES]] = np.nan
    return values


class AnswerPositions:
    """Where the answers of an example are in a readout.

    Attributes:
        reads: for each option, the column of each of its tokens.
        vectors: for each option, the vector that predicts each of its tokens.
    """

    def __init__(self) -> None:
        self.reads: list[np.ndarray] = []
        self.vectors: list[np.ndarray] = []

    def add(self, reads: list[int], vectors: list[int]) -> None:
        """Add the next option."""
        self.reads.append(np.array(reads))
        self.vectors.append(np.array(vectors))


def decision(leads: Bool[np.ndarray, " depth"]) -> int:
    """The first depth from which an answer leads to the end; if none, the number of depths."""
    not_leading = np.flatnonzero(~leads)
    return int(not_leading[-1]) + 1 if len(not_leading) else 0


def _option_columns(
    answer: Answer, found: Readout, positions: AnswerPositions
) -> dict[str, np.ndarray]:
    logprob = np.stack([found.logprob[:, reads].sum(axis=1) for reads in positions.reads])
    logrank = np.stack([np.log1p(found.rank[:, reads]).mean(axis=1) for reads in positions.reads])
    depth = np.arange(logprob.shape[1])
    columns: dict[str, np.ndarray] = {}
    for name, option in (("right", answer.right), ("chosen", int(logprob[:, -1].argmax()))):
        other_options = np.delete(logprob, option, axis=0)
        columns |= {
            f"{name}_logprob": logprob[option],
            f"{name}_logrank": logrank[option],
            f"{name}_margin": logprob[option] - other_options.max(axis=0),
            # among equal options the first is chosen, as in the harness
            f"{name}_leads": logprob.argmax(axis=0) == option,
        }
    wrong = np.delete(np.arange(len(logprob)), answer.right)
    best = wrong[logprob[wrong].argmax(axis=0)]
    return columns | {"wrong_logprob": logprob[best, depth], "wrong_logrank": logrank[best, depth]}


def _text_columns(reads: np.ndarray, vectors: np.ndarray, found: Readout) -> dict[str, np.ndarray]:
    columns: dict[str, np.ndarray] = {}
    top, runner_up = found.top_logprobs[:, vectors, 0], found.top_logprobs[:, vectors, 1]
    for name, logprob, rank in (
        ("right", found.logprob[:, reads], found.rank[:, reads]),
        ("chosen", found.final_logprob[:, vectors], found.final_rank[:, vectors]),
    ):
        rival = np.where(rank == 0, runner_up, top)
        columns |= {
            f"{name}_logprob": logprob.sum(axis=1),
            f"{name}_logrank": np.log1p(rank).mean(axis=1),
            f"{name}_margin": (logprob - rival).min(axis=1),
            f"{name}_leads": (rank == 0).all(axis=1),
        }
    right_first = found.rank[:, reads] == 0
    columns["wrong_logprob"] = np.where(right_first, runner_up, top).sum(axis=1)
    columns["wrong_logrank"] = np.log1p(right_first.astype(float)).mean(axis=1)
    return columns
