"""Several harness tasks as one: `mmlu` is its 57 subjects, each asked in its own words.

The group's score is the mean over all rows, which is what the harness computes where a group's
tasks are weighted by their size.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any


class Group:
    """Several harness tasks, with the part of one task's interface that this package uses.

    Every call goes to the task that its row belongs to.

    Attributes:
        members: the tasks.
        eval_docs: the rows of all members, one member after the other.
        strata: for each row, the name of its member.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        self.members = tuple(members)
        self.eval_docs: list[dict[str, Any]] = [row for m in members for row in m.eval_docs]
        self.strata = [str(m.config.task) for m in members for _ in m.eval_docs]

    @property
    def OUTPUT_TYPE(self) -> Any:
        """Of the first member; all members have the same."""
        return self.members[0].OUTPUT_TYPE

    @cached_property
    def VERSION(self) -> str:
        """The members' version, or versions."""
        return ", ".join(dict.fromkeys(str(m.VERSION) for m in self.members))

    @property
    def config(self) -> Any:
        """Of the first member: what concerns all of them is equal."""
        return self.members[0].config

    @property
    def fewshot_seed(self) -> int:
        """Of the first member; all members have the same."""
        return int(self.members[0].fewshot_seed)

    @property
    def used_data(self) -> bool:
        """Whether rows of any member come from the folder that the user gave."""
        return any(member.used_data for member in self.members)

    @property
    def multiple_input(self) -> Any:
        """Whether options stand in the contexts; equal for all members."""
        return self.members[0].multiple_input

    @property
    def multiple_target(self) -> Any:
        """Whether a row may have several right answers; equal for all members."""
        return self.members[0].multiple_target

    @property
    def _filters(self) -> Any:
        return self.members[0]._filters

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **options: Any) -> Any:
        """The prompt of a row, with few-shot examples of its own member."""
        return self.of(doc).fewshot_context(doc, num_fewshot, **options)

    def construct_requests(self, doc: dict[str, Any], ctx: Any, **options: Any) -> Any:
        """The requests of a row."""
        return self.of(doc).construct_requests(doc, ctx, **options)

    def process_results(self, doc: dict[str, Any], results: Any) -> Any:
        """The metrics of a row."""
        return self.of(doc).process_results(doc, results)

    def doc_to_text(self, doc: dict[str, Any]) -> Any:
        """The question of a row."""
        return self.of(doc).doc_to_text(doc)

    def doc_to_target(self, doc: dict[str, Any]) -> Any:
        """The right answer of a row."""
        return self.of(doc).doc_to_target(doc)

    def doc_to_choice(self, doc: dict[str, Any]) -> Any:
        """The options of a row."""
        return self.of(doc).doc_to_choice(doc)

    def doc_to_prefix(self, doc: dict[str, Any]) -> Any:
        """What the answer of a row begins with."""
        return self.of(doc).doc_to_prefix(doc)

    def place_of(self, doc: dict[str, Any]) -> str:
        """Where a row stands in a file; empty where that is not known."""
        return str(self.of(doc).place_of(doc))

    def dump_config(self) -> dict[str, Any]:
        """The configurations of all members, by name."""
        return {str(m.config.task): m.dump_config() for m in self.members}

    def fewshot_docs(self) -> list[Any]:
        """The rows that few-shot examples come from, of all members."""
        return [row for m in self.members for row in m.fewshot_docs() or ()]

    def changed(self, change: Callable[[Any], Any]) -> "Group":
        """The group of its members, each changed.

        Args:
            change: a function from a member to another task of the same kind.
        """
        return Group([change(member) for member in self.members])

    def of(self, doc: dict[str, Any]) -> Any:
        """The member that a row belongs to."""
        # the members know their own rows in a copy in another process, too
        owner = next((m for m in self.members if m.holds(doc)), None)
        if owner is not None:
            return owner
        return next(m for m in self.members if doc in m.eval_docs)
