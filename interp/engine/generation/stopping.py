"""Where an answer ends, and which part of it is its text: lm-evaluation-harness' own rules.

The harness looks for a stop string in the last tokens after every token (`MultiTokenEOSCriteria`:
two more tokens than the string has, special tokens shown), stops at the model's end tokens, and
cuts the decoded text, special tokens left out, at the stop strings in the order in which they are
given. In a batch its rows go on until all are done, which changes nothing but the cost; what is
followed here is a row on its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from interp.models import Decoder

FAILED = -1
"""In the place of a token: the logits are not finite, so that there is none."""

NOT_FINITE = "logits are not finite"
"""Why an answer is a failure, in its record."""


@dataclass(frozen=True)
class Answer:
    """What a model wrote for one request.

    Attributes:
        text: up to the first stop string.
        n_tokens: tokens generated, those of the stop string and the end token included.
        finished: False where the token limit cut the answer. A cut answer is not a wrong one.
        tokens: all that was generated.
        failure: why the model could not go on, in words; empty where it could. Such an answer is
            neither right nor wrong.
    """

    text: str
    n_tokens: int
    finished: bool
    tokens: tuple[int, ...] = field(default=(), repr=False)
    failure: str = ""


@dataclass(frozen=True, eq=False)
class Stopping:
    """The end of one request's answer.

    Attributes:
        tokenizer: the tokenizer of the model.
        end_tokens: tokens at which generation ends.
        until: strings at which it ends; they are not part of the text.
        max_gen_toks: the most tokens.
    """

    tokenizer: Any
    end_tokens: frozenset[int]
    until: tuple[str, ...]
    max_gen_toks: int

    @cached_property
    def _windows(self) -> tuple[tuple[str, int], ...]:
        """Each stop string and the number of last tokens in which it is looked for."""
        encode = self.tokenizer.encode
        return tuple((stop, len(encode(stop, add_special_tokens=False)) + 2) for stop in self.until)

    @cached_property
    def _reach(self) -> int:
        """Tokens that surely hold the longest stop string, however it was split."""
        return max((len(stop.encode()) for stop in self.until), default=0) + 1

    @cached_property
    def _may_end(self) -> dict[int, bool]:
        return {}

    def done(self, written: Sequence[int]) -> bool:
        """Whether the answer ends with the last of the written tokens."""
        if len(written) >= self.max_gen_toks or written[-1] in self.end_tokens:
            return True
        return written[-1] == FAILED or self._stopped(written)

    def answer(self, written: Sequence[int]) -> Answer:
        """The text of a finished (or cut) answer, or what was written before a failure."""
        if written and written[-1] == FAILED:
            return replace(self.answer(written[:-1]), finished=False, failure=NOT_FINITE)
        text = whole = self.tokenizer.decode(list(written), skip_special_tokens=True)
        for stop in self.until:
            text = text.split(stop)[0]
        ended = bool(written) and (written[-1] in self.end_tokens or self._stopped(written))
        return Answer(text, len(written), ended or text != whole, tuple(written))

    def _stopped(self, written: Sequence[int]) -> bool:
        if not self.until or not self._can_end(written[-1]):
            return False
        decode = self.tokenizer.decode
        for stop, window in self._windows:
            if stop in decode(list(written[-window:])):
                return True
        # split into more tokens than the harness looks at: it goes on, and cuts the text here
        tail = decode(list(written[-self._reach :]), skip_special_tokens=True)
        if any(stop in tail for stop in self.until):
            whole = decode(list(written), skip_special_tokens=True)
            return any(stop in whole for stop in self.until)
        return False

    def _can_end(self, token: int) -> bool:
        """Whether a stop string can end inside a token: most tokens need no decoding of a tail."""
        if token not in self._may_end:
            # twice, because a tokenizer may strip the ends of a text; spaces it may also put in
            piece = self.tokenizer.decode([token]) + self.tokenizer.decode([token, token])
            self._may_end[token] = any(
                not stop[-1].isascii() or stop[-1] == " " or stop[-1] in piece
                for stop in self.until
            )
        return self._may_end[token]


def end_tokens(decoder: Decoder) -> frozenset[int]:
    """The tokens at which `transformers` ends generation, or else the tokenizer's own.

    Args:
        decoder: the decoder, with its generation config and tokenizer.

    Returns:
        Token ids; empty where neither the model nor its tokenizer names any.
    """
    config = getattr(decoder.root, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    ends = getattr(decoder.tokenizer, "eos_token_id", None) if ends is None else ends
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, list | tuple) else [ends])
