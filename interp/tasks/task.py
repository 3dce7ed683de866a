"""A benchmark under one protocol: its rows, its kind, its metrics, and how it is asked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from interp.errors import UserError
from interp.tasks import metrics
from interp.tasks.aggregation import Metric, declared_metrics
from interp.tasks.fixed import FEWSHOT_SEED
from interp.tasks.groups import Group
from interp.tasks.names import split_name

STRATUM_FIELDS = ("subject", "category", "relation")
LETTERS = re.compile(r"[A-Z]")


@dataclass(frozen=True)
class TaskVariant:
    """How a task is asked where that is not as it is published.

    Attributes:
        chat_template: hash of the model's chat template, where prompts are written through it;
            empty where they are plain text.
        max_tokens: most tokens of an answer; None for what the task says.
        n_samples: answers that are sampled for each row; None where answers are not sampled, or
            as the task says.
        temperature: at which they are sampled; None for what the task says.
        way: the way of asking, where the prompt is another than the published one
            (`fewshot-seed-1`).
    """

    chat_template: str = ""
    max_tokens: int | None = None
    n_samples: int | None = None
    temperature: float | None = None
    way: str = ""

    @property
    def prefix(self) -> str:
        """What is printed before the task's name; never read back."""
        words = f"{self.way}-" if self.way else ""
        words += "chat-" if self.chat_template else ""
        words += f"{self.max_tokens}-tokens-" if self.max_tokens is not None else ""
        if self.temperature is not None:
            words += f"{self.n_samples}-draws-at-{self.temperature:g}-"
        return words


@dataclass(frozen=True, eq=False)
class Task:
    """A benchmark under one protocol.

    Nothing outside `interp.tasks` uses lm-evaluation-harness' own objects: what they offer is
    offered here.

    Attributes:
        plain_name: what `load_task` knows it by, or its YAML calls it.
        variant: how it is asked where that is not as it is published.
        compared: metrics that compare with the whole model (`with_divergence`); none by default.
    """

    plain_name: str
    _harness: Any
    variant: TaskVariant = TaskVariant()
    compared: Mapping[str, Metric] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # records, tables and figures tell tasks apart by their names
        if not isinstance(self.plain_name, str) or not self.plain_name.strip():
            raise UserError(f"task {self.plain_name!r}: its name is empty")

    @property
    def name(self) -> str:
        """The key in the store: the plain name, and before it how the task is asked."""
        return self.variant.prefix + self.plain_name

    @property
    def benchmark(self) -> str:
        """The name without its protocol."""
        return split_name(self.name)[0]

    @property
    def protocol(self) -> str:
        """`default` (option letters), `continuation` (option texts) or `generate`."""
        named = split_name(self.name)[1]
        return named or self.natural_protocol

    @property
    def generates(self) -> bool:
        """Whether the model writes an answer (else its options are scored)."""
        return self.output_type == "generate_until"

    @property
    def is_text(self) -> bool:
        """Whether whole texts are scored, which have neither prompts nor answers."""
        return self.output_type == "loglikelihood_rolling"

    @property
    def output_type(self) -> str:
        """lm-evaluation-harness' kind: `multiple_choice`, `generate_until`, ..."""
        return str(self._harness.OUTPUT_TYPE)

    @property
    def version(self) -> str:
        """The version that the task's YAML gives itself."""
        return str(self._harness.VERSION)

    @property
    def num_fewshot(self) -> int:
        """Few-shot examples before each question."""
        return int(self._harness.config.num_fewshot or 0)

    @property
    def fewshot_seed(self) -> int:
        """Seed of the choice of few-shot examples."""
        return int(self._harness.fewshot_seed)

    @property
    def repeats(self) -> int:
        """How often the harness asks the same question; more than once where it samples."""
        return int(self._harness.config.repeats or 1)

    @property
    def uses_data(self) -> bool:
        """Whether its rows come from the folder that the user gave (`--data`)."""
        return bool(self._harness.used_data)

    @property
    def target_delimiter(self) -> str:
        """What stands between a prompt and its answer."""
        return str(self._harness.config.target_delimiter)

    @property
    def cluster_field(self) -> str | None:
        """The field that names what rows share, where the YAML says it (`metadata: cluster`)."""
        metadata = self._harness.config.metadata
        return metadata.get("cluster") if isinstance(metadata, dict) else None

    @property
    def wordings(self) -> list[str]:
        """Other templates of the question that the YAML lists (`metadata: {wordings: [...]}`)."""
        metadata = self._harness.config.metadata
        listed = metadata.get("wordings") if isinstance(metadata, dict) else None
        if listed is None:
            return []
        if not isinstance(listed, list) or not all(isinstance(t, str) for t in listed):
            raise UserError(f"task {self.name}: metadata: wordings is no list of templates")
        return list(listed)

    @property
    def configuration(self) -> dict[str, Any]:
        """All that the task's YAML says; of a group, that of each member by name."""
        configuration: dict[str, Any] = self._harness.dump_config()
        return configuration

    def described_variant(self) -> dict[str, Any]:
        """How the task is asked, as a manifest holds it; empty where it is as published."""
        described = asdict(self.variant)
        if self.num_fewshot and self.fewshot_seed != FEWSHOT_SEED:
            described["fewshot_seed"] = self.fewshot_seed
        if described == asdict(TaskVariant()):
            return {}
        if not self.variant.way:
            del described["way"]
        return {"plain_name": self.plain_name, **described}

    def documents(self) -> Sequence[dict[str, Any]]:
        """All rows of the evaluated split, in their order; the same objects at every call."""
        rows: Sequence[dict[str, Any]] = self._harness.eval_docs
        return rows

    def fewshot_documents(self) -> list[dict[str, Any]]:
        """The rows that few-shot examples come from; empty where there are none."""
        return list(self._harness.fewshot_docs() or []) if self.num_fewshot else []

    def place_of(self, doc_id: int) -> str:
        """Where a row stands (`row 7 of FILE`, counted from 1); empty where that is not known."""
        return str(self._harness.place_of(self.documents()[doc_id]))

    def question(self, document: Mapping[str, Any]) -> str:
        """The question of a row, without few-shot examples."""
        return str(self._harness.doc_to_text(document))

    def options(self, document: Mapping[str, Any]) -> list[str]:
        """The texts of a row's options; empty where the task has none."""
        if self.output_type != "multiple_choice":
            return []
        return [str(option) for option in self._harness.doc_to_choice(document)]

    def gold_options(self, document: Mapping[str, Any]) -> list[int]:
        """The numbers of a row's right options; empty where the row names one that is not there."""
        if self.is_text:
            raise UserError(f"task {self.name}: its texts have no answers; they can only be swept")
        return metrics.gold_options(self._harness, document)

    def target_text(self, document: Mapping[str, Any]) -> str:
        """The right answer of a row, as text."""
        return metrics.target_text(self._harness, document)

    def given_answers(self, text: str, samples: Sequence[str] | None) -> list[str]:
        """What the harness would be given: the samples, or greedy text as often as it repeats."""
        return [text] * self.repeats if samples is None else list(samples)

    def score_options(
        self,
        document: Mapping[str, Any],
        responses: Sequence[tuple[float, bool]],
        *,
        token_counts: Sequence[int],
    ) -> dict[str, float]:
        """Metrics of one example whose options were scored.

        Args:
            document: the row.
            responses: for each option its log-likelihood (nats) and whether it is the greedy text.
            token_counts: tokens of each option.

        Returns:
            Metric name to value; a perplexity's log-likelihood as `perplexity,log-likelihood`.

        Raises:
            UserError: the task declares a metric that cannot be computed here.
        """
        scored = metrics.option_metrics(self._harness, document, responses, token_counts)
        return metrics.numbers(scored, self.metrics(), self.name)

    def score_texts(self, document: Mapping[str, Any], texts: Sequence[str]) -> dict[str, float]:
        """Metrics of one example's generated answers, one per filter: `exact_match,strict-match`.

        Where a filter takes the first of several samples, as the harness does unless a task says
        otherwise, `exact_match,strict-match,mean-of-draws` is the mean over all of them. One value
        an example: samples of one example are not independent examples.

        Args:
            document: the row.
            texts: the answers, one per sample; the task's filters may combine them.

        Raises:
            UserError: the task declares a metric that cannot be computed here.
        """
        return metrics.text_metrics(self._harness, document, texts, self.metrics(), self.name)

    def metrics(self) -> dict[str, Metric]:
        """The metrics that the task declares, by name, each with its aggregation and direction.

        Raises:
            UserError: one of them cannot be computed here.
        """
        return self._metrics

    def higher_is_better(self, metric: str) -> bool:
        """The direction of a metric, by its name in the records."""
        return self.metrics().get(metric.partition(",")[0], Metric()).higher_is_better

    def aggregate(self, metric: str, values: Sequence[float]) -> float:
        """One number of the values that examples have in the records.

        Args:
            metric: its name in the records.
            values: one per example.
        """
        mean = float(np.mean(np.asarray(values, dtype=float)))
        declared = self.metrics().get(metric.partition(",")[0], Metric())
        return float(np.exp(-mean)) if declared.aggregation == "perplexity" else mean

    @cached_property
    def _metrics(self) -> dict[str, Metric]:
        members = getattr(self._harness, "members", (self._harness,))
        declared = [declared_metrics(member, self.name) for member in members]
        for name in sorted({name for declaration in declared for name in declaration}):
            if len({declaration.get(name) for declaration in declared}) > 1:
                raise UserError(
                    f"task {self.name}: its members do not agree on metric {name}; give them singly"
                )
        return declared[0] | dict(self.compared)

    @cached_property
    def strata(self) -> list[str]:
        """What each row belongs to: its subject, its category; one name for all where none."""
        if isinstance(self._harness, Group):
            return self._harness.strata
        documents = self.documents()
        first = documents[0] if documents else {}
        field = next((f for f in STRATUM_FIELDS if f in first), None)
        return [str(d.get(field)) for d in documents] if field else [""] * len(documents)

    @cached_property
    def natural_protocol(self) -> str:
        """The protocol that the definition is of, whatever its name says."""
        if self.generates:
            return "generate"
        if self.output_type == "multiple_choice":
            options = self.options(self.documents()[0])
            if all(LETTERS.fullmatch(option) for option in options):
                return "default"
        return "continuation"

    def __repr__(self) -> str:
        return f"Task({self.name}, {len(self.documents())} examples)"
