"""A benchmark under one protocol: its rows, its kind, and what each row belongs to."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from interp.tasks.groups import Group
from interp.tasks.names import (
    split_name,
)

STRATUM_FIELDS = ("subject", "category", "relation")


LETTERS = re.compile(r"[A-Z]")


@dataclass(frozen=True, eq=False)
class Task:
    """A benchmark under one protocol.

    Attributes:
        name: as the user gave it; the key in the store.
        harness: lm-evaluation-harness' own task object, or several of them as one.
    """

    name: str
    harness: Any

    @property
    def benchmark(self) -> str:
        """The name without its protocol."""
        return split_name(self.name)[0]

    @property
    def protocol(self) -> str:
        """`default` (option letters), `continuation` (option texts) or `generate`."""
        named = split_name(self.name)[1]
        return named or self._natural

    @property
    def generates(self) -> bool:
        """Whether the model writes an answer (else its options are scored)."""
        return bool(self.harness.OUTPUT_TYPE == "generate_until")

    @property
    def version(self) -> str:
        """The version that the task's YAML gives itself."""
        return str(self.harness.VERSION)

    @property
    def num_fewshot(self) -> int:
        """Worked examples in front of each question."""
        return int(self.harness.config.num_fewshot or 0)

    @property
    def repeats(self) -> int:
        """How often the harness asks the same question; more than once where it samples."""
        return int(self.harness.config.repeats or 1)

    def documents(self) -> list[dict[str, Any]]:
        """All rows of the evaluated split, in their order; the same objects at every call."""
        return self._documents

    @cached_property
    def _documents(self) -> list[dict[str, Any]]:
        docs = self.harness.eval_docs
        return docs if isinstance(docs, list) else [dict(row) for row in docs]

    @cached_property
    def strata(self) -> list[str]:
        """What each row belongs to: its subject, its category; one name for all where none."""
        if isinstance(self.harness, Group):
            return self.harness.strata
        docs = self.documents()
        field = next((f for f in STRATUM_FIELDS if docs and f in docs[0]), None)
        return [str(d.get(field)) if field else "" for d in docs]

    @cached_property
    def _natural(self) -> str:
        if self.generates:
            return "generate"
        if self.harness.OUTPUT_TYPE == "multiple_choice":
            options = self.harness.doc_to_choice(self.documents()[0])
            if all(LETTERS.fullmatch(str(option)) for option in options):
                return "default"
        return "continuation"

    def __repr__(self) -> str:
        return f"Task({self.name}, {len(self.documents())} examples)"
