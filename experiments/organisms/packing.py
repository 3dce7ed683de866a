"""From documents to rows of tokens, joined as in a few-shot prompt, each token with its weight."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from transformers import PreTrainedTokenizerFast

from experiments.organisms.documents import Document, Maker, Span, Stage
from experiments.organisms.tokenizer import PIECE
from experiments.organisms.world import World

CONTEXT_WEIGHT = 0.1  # loss weight of tokens that are not answers
SEPARATOR = "\n\n"
STRETCH = 6  # documents drawn before the next choice between one kind and a mixture
CACHE_SIZE = 50_000
PIECES = re.compile(PIECE)


@dataclass
class Source:
    """What documents are drawn from; training changes `stage` as it goes."""

    world: World
    rng: random.Random
    makers: dict[str, Maker]
    mix: dict[str, float]
    stage: Stage


@dataclass(frozen=True)
class Row:
    """Token ids and their loss weights, of one length."""

    ids: list[int]
    weights: list[float]


def encode_document(
    tokenizer: PreTrainedTokenizerFast,
    document: Document,
    cache: dict[str, list[int]],
    *,
    context_weight: float = CONTEXT_WEIGHT,
) -> Row:
    """Encode a document span by span (spans end where tokens end), without special tokens.

    The tokenizer merges nothing, so that the ids of a text are those of its pieces: each piece is
    encoded once and kept in `cache`.
    """
    ids: list[int] = []
    weights: list[float] = []
    for span in document:
        pieces = PIECES.findall(span.text)
        if sum(map(len, pieces)) != len(span.text):
            pieces = [span.text]
        before = len(ids)
        for piece in pieces:
            if piece not in cache:
                if len(cache) > CACHE_SIZE:
                    cache.clear()
                cache[piece] = tokenizer.encode(piece, add_special_tokens=False)
            ids += cache[piece]
        weights += [span.weight if span.answer else context_weight] * (len(ids) - before)
    return Row(ids, weights)


def draw_documents(source: Source) -> Iterator[Document]:
    """Draw documents for ever: stretches of one kind (as in few-shot prompts), mixed stretches."""
    rng, kinds, shares = source.rng, list(source.mix), list(source.mix.values())
    while True:
        one_kind = rng.choices(kinds, shares)[0] if rng.random() < 0.3 else None
        for _ in range(STRETCH):
            kind = one_kind or rng.choices(kinds, shares)[0]
            yield source.makers[kind](rng, source.world, source.stage)


def pack_rows(
    documents: Iterator[Document],
    tokenizer: PreTrainedTokenizerFast,
    rng: random.Random,
    length: int,
    *,
    context_weight: float = CONTEXT_WEIGHT,
    cache: dict[str, list[int]] | None = None,
) -> Iterator[Row]:
    """Pack documents into rows: the beginning-of-sequence token, documents and separators, padding.

    The separator is a blank line, in one of twenty cases end-of-text. A document that does not fit
    is replaced by one that does; after three misses the rest of the row is padding.

    Args:
        documents: an endless stream.
        tokenizer: the organisms' tokenizer.
        rng: decides which separators are end-of-text.
        length: tokens a row.
        context_weight: loss weight of tokens that are not answers.
        cache: the cache of encoded pieces; a fresh one by default.

    Yields:
        Rows of `length` tokens.
    """
    cache = {} if cache is None else cache
    blank = encode_document(tokenizer, (Span(SEPARATOR, answer=True),), cache)
    end = Row([tokenizer.eos_token_id], [1.0])
    while True:
        ids, weights, misses = [tokenizer.bos_token_id], [0.0], 0
        while misses < 3:
            row = encode_document(tokenizer, next(documents), cache, context_weight=context_weight)
            if len(ids) + len(row.ids) + len(blank.ids) > length:
                misses += 1
                continue
            separator = end if rng.random() < 0.05 else blank
            ids += row.ids + separator.ids
            weights += row.weights + separator.weights
        rest = length - len(ids)
        yield Row(ids + [tokenizer.pad_token_id] * rest, weights + [0.0] * rest)
