"""A task of lm-evaluation-harness whose rows are made once and whose few-shot examples are fixed.

Two things differ from a task that the harness builds itself. Rows may come from local files, or be
made when they are asked for. And the few-shot examples before a row depend on that row alone.
The harness draws them from one random stream while it walks through the rows from the first to
the last; here the whole walk is drawn once, so that a row gets the same examples as there
whichever rows are asked for, in whatever order, by whichever process.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from interp.errors import UserError, first_line
from interp.tasks.rows import FileRows

FEWSHOT_SEED = 1234
"""The seed of few-shot examples in `lm_eval.simple_evaluate`."""

GivenRows = Mapping[str, Sequence[dict[str, Any]]]


def fixed_task(base: Any, config: dict[str, Any], rows: GivenRows | None, seed: int) -> Any:
    """A task of the harness' own class, with `FixedRows` before it.

    Args:
        base: the class that the task names; None for the harness' usual one.
        config: the configuration of the task.
        rows: the rows of each split; None where the harness is to load them.
        seed: the seed of the few-shot examples.

    Returns:
        The task object. Its rows and few-shot examples do not change from process to process.
    """
    from lm_eval.api.task import ConfigurableTask

    kind = type("FixedTask", (FixedRows, base or ConfigurableTask), {})
    return kind(config, rows, seed)


def evaluated_split(config: Mapping[str, Any]) -> str:
    """The split whose rows are asked: the test split where there is one."""
    return str(config.get("test_split") or config.get("validation_split"))


class FixedRows:
    """What is put before a task class of the harness.

    Attributes:
        fewshot_seed: the seed of the choice of few-shot examples.
        fewshot_order: places of a row's few-shot examples; empty where they stand as drawn.
        used_data: whether its rows come from the folder that the user gave.
    """

    config: Any
    fewshot_cfg: Any
    sampler: Any
    used_data = False
    fewshot_order: tuple[int, ...] = ()

    def __init__(self, config: dict[str, Any], rows: GivenRows | None, seed: int) -> None:
        self._given, self.fewshot_seed = rows, seed
        self._made: Sequence[dict[str, Any]] | None = None
        self._fewshot: dict[int, list[list[Any]]] = {}
        super().__init__(config=config)  # type: ignore[call-arg]
        documents = super().eval_docs  # type: ignore[misc]
        self._made = documents if _lazy(documents) else _rows_of(documents)
        self._number_rows()
        self.set_fewshot_seed(seed)  # type: ignore[attr-defined]

    def __setstate__(self, state: dict[str, Any]) -> None:
        # a copy in another process has rows of other identities
        self.__dict__.update(state)
        self._number_rows()

    def download(self, dataset_kwargs: Any = None, **kwargs: Any) -> None:
        """The given rows as the harness' data set, or its own."""
        import datasets

        if self._given is None:
            super().download(dataset_kwargs, **kwargs)  # type: ignore[misc]
            return
        self.dataset = {
            split: rows if _lazy(rows) else datasets.Dataset.from_list(list(rows))
            for split, rows in self._given.items()
        }

    def fewshot_docs(self) -> Any:
        """The rows that few-shot examples come from; none where all rows are made when asked."""
        if any(map(_lazy, (self._given or {}).values())):
            return None
        return super().fewshot_docs()  # type: ignore[misc]

    @property
    def eval_docs(self) -> Any:
        """The evaluated rows, the same objects at every call."""
        return super().eval_docs if self._made is None else self._made  # type: ignore[misc]

    def holds(self, doc: Any) -> bool:
        """Whether a row is one of its own, and not only equal to one."""
        return id(doc) in self._numbers

    def place_of(self, doc: Any) -> str:
        """Where a row stands in a file; empty where that is not known."""
        if self.config.process_docs is not None:
            return ""
        split = evaluated_split(vars(self.config))
        if self._given is not None:
            rows = self._given.get(split)
            return rows.places[self._number_of(doc)] if isinstance(rows, FileRows) else ""
        files = (self.config.dataset_kwargs or {}).get("data_files")
        file = files.get(split) if isinstance(files, dict) else None
        return f"row {self._number_of(doc) + 1} of {file}" if isinstance(file, str) else ""

    def fewshot_context(self, doc: Any, num_fewshot: int, *args: Any, **kwargs: Any) -> Any:
        """The prompt of a row, with the few-shot examples that are fixed for it."""
        if not num_fewshot or not hasattr(self, "sampler"):
            return super().fewshot_context(doc, num_fewshot, *args, **kwargs)  # type: ignore[misc]
        if num_fewshot not in self._fewshot:
            self._fewshot[num_fewshot] = self._drawn(num_fewshot)
        with _given(self.sampler, self._fewshot[num_fewshot][self._number_of(doc)]):
            return super().fewshot_context(doc, num_fewshot, *args, **kwargs)  # type: ignore[misc]

    def other_draw(self, seed: int) -> Any:
        """The same task with few-shot examples drawn at random by another seed.

        Args:
            seed: the seed of the draw, whatever sampler the task names.

        Raises:
            UserError: it has no more rows for examples than it needs, so that any draw is the same.
        """
        from lm_eval.api.samplers import ContextSampler

        copied = self.copied()
        rows = copied.sampler.fewshot_docs() if hasattr(copied, "sampler") else []
        wanted = int(self.config.num_fewshot or 0)
        if len(rows) <= wanted:
            raise UserError(
                f"task {self.config.task}: {wanted} few-shot examples of {len(rows)} rows; another "
                "draw needs more rows than examples"
            )
        copied.sampler = ContextSampler(list(rows))
        copied.set_fewshot_seed(seed)
        copied.fewshot_seed = seed
        return copied

    def other_order(self, order: Sequence[int]) -> Any:
        """The same task with the few-shot examples of every row in another order.

        Args:
            order: for each place, the place that its example had.
        """
        copied = self.copied()
        copied.fewshot_order = tuple(order)
        return copied

    def other_wording(self, template: str) -> Any:
        """The same task with another `doc_to_text`, in its few-shot examples too.

        Args:
            template: a Jinja template of the fields of a row.
        """
        copied = self.copied()
        copied._config, copied.fewshot_cfg = copy.copy(self.config), copy.copy(self.fewshot_cfg)
        if copied.fewshot_cfg.doc_to_text == copied._config.doc_to_text:
            copied.fewshot_cfg.doc_to_text = template
        copied._config.doc_to_text = template
        return copied

    def other_rows(self, rows: Sequence[dict[str, Any]]) -> Any:
        """The same task with other evaluated rows, as many; few-shot examples stay.

        Args:
            rows: each in place of the one with its number.
        """
        copied = self.copied()
        wanted = int(self.config.num_fewshot or 0)
        if wanted and hasattr(self, "sampler"):
            # drawn from the rows as they were, so that no row is its own few-shot example
            copied._fewshot = {wanted: self._drawn(wanted)}
        copied._made = list(rows)
        copied._number_rows()
        return copied

    def copied(self) -> Any:
        """A copy whose few-shot examples are drawn anew."""
        task = copy.copy(self)
        task._fewshot = {}
        if hasattr(self, "sampler"):
            task.sampler = copy.copy(self.sampler)
        return task

    def _drawn(self, num_fewshot: int) -> list[list[Any]]:
        """The few-shot examples of every row, drawn as the harness draws them."""
        inside = self.fewshot_cfg.split == self.config.test_split
        self.sampler.set_rnd(self.fewshot_seed)
        try:
            drawn = [
                list(self.sampler.sample(n=num_fewshot, eval_doc=row if inside else None))
                for row in self._made or ()
            ]
        except (AssertionError, ValueError) as error:
            raise UserError(
                f"task {self.config.task}: {num_fewshot} few-shot examples; split "
                f"{self.fewshot_cfg.split or 'for them'} has fewer ({first_line(error)})"
            ) from error
        order = self.fewshot_order or range(num_fewshot)
        return [[examples[place] for place in order] for examples in drawn]

    def _number_rows(self) -> None:
        lists = isinstance(self._made, list)
        self._numbers = {id(row): n for n, row in enumerate(self._made or ())} if lists else {}

    def _number_of(self, doc: Any) -> int:
        number = self._numbers.get(id(doc))
        return list(self._made or ()).index(doc) if number is None else number


def _lazy(rows: Any) -> bool:
    """Whether rows are made when they are asked for (`interp.tasks.key_value.KeyValueRows`)."""
    return hasattr(rows, "made_when_asked")


@contextmanager
def _given(sampler: Any, examples: list[Any]) -> Iterator[None]:
    sampler.sample = lambda *_args, **_kwargs: examples
    try:
        yield
    finally:
        del sampler.sample


def _rows_of(found: Any) -> list[dict[str, Any]]:
    """All rows of a data set, its columns read at once: row by row takes ten times as long."""
    import datasets

    if not isinstance(found, datasets.Dataset) or not found.column_names:
        return [dict(row) for row in found]
    columns = found[:]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
