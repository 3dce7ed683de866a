"""What the positions of a batch are, for ablations that act at some of them only.

Rows that are shared must agree on it: a token of one request's answer can be of another's prompt.
Such requests are told apart by the length of their contexts and scored one length after the other.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from interp.ablations import BITS
from interp.engine.scoring.packing import Batch
from interp.tasks import OptionRequest


def batch_labels(batch: Batch) -> Int[Tensor, "row pos"]:
    """Labels of a batch's positions (`Places`): of the answer where its tokens are read."""
    labels = torch.full(batch.ids.shape, BITS["prompt"])
    for _, row, columns, _ in batch.scored:
        labels[row, list(columns[:1])] |= BITS["last"]
        labels[row, list(columns[1:])] = BITS["answer"]
    return labels


def row_labels(batch: Batch) -> Int[Tensor, "row pos"]:
    """As `batch_labels`, of rows that are padded on the right; 0 where there is padding."""
    labels = batch_labels(batch)
    ends = torch.zeros(len(labels), dtype=torch.long)
    for _, row, columns, _ in batch.scored:
        ends[row] = max(int(ends[row]), columns[-1] + 1)
    return labels.masked_fill(torch.arange(labels.shape[1]) >= ends[:, None], 0)


def told_apart(requests: Sequence[OptionRequest]) -> list[list[int]]:
    """Numbers of requests whose rows agree on what is prompt and what is answer."""
    lengths: dict[int, set[int]] = {}
    rows: dict[tuple[int, ...], set[int]] = {}
    by_length: dict[int, list[int]] = {}
    for number, request in enumerate(requests):
        length = len(request.context)
        lengths.setdefault(request.doc_id, set()).add(length)
        rows.setdefault((*request.context, *request.continuation[:-1]), set()).add(length)
        by_length.setdefault(length, []).append(number)
    alike = all(len(values) == 1 for values in (*lengths.values(), *rows.values()))
    return [list(range(len(requests)))] if alike else list(by_length.values())
