"""The engine as a model of lm-evaluation-harness: `simple_evaluate(model="interp", ...)`.

Importing this module registers it; lm-evaluation-harness 0.4.13 discovers no plugins by itself, so
that its own command line needs `interp lm-eval run ...`. Model arguments: `pretrained` (as
`interp.load_model` takes it), `ablation` (`layer:7`, `head:7.3+mlp:2`, ...), `donor`, `dtype`,
`revision`, `seed` (of the draws of tasks that sample), `token_budget`.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from interp.ablations import BASELINE, as_ablation, check_donor_used, checked_edits
from interp.engine import Shortcuts, generate, score_requests
from interp.errors import UserError
from interp.models import decoder, load_model, model_name
from interp.tasks import GenerationRequest, chat_text, encode, generation_request, option_request

LOADING = ("dtype", "device", "revision")
IGNORED = {"batch_size", "max_batch_size", "trust_remote_code"}


@register_model("interp")
class AblatedModel(TemplateLM):
    """A model under one ablation, for lm-evaluation-harness.

    Args:
        pretrained: hub name, folder, `organism:NAME`, or a bridge.
        ablation: text form of what is ablated; nothing by default.
        donor: the other model, for swaps.
        seed: the seed of the draws, where a task samples; draws are those of `interp sweep --seed`.
        token_budget: most tokens of one batch; by default from free memory.
        **loading: `dtype`, `device` and `revision` for `interp.load_model`; the batch sizes that
            the harness gives every model are ignored, for the engine sizes its own.
    """

    def __init__(
        self,
        pretrained: str | TransformerBridge,
        *,
        ablation: str = BASELINE.text,
        donor: str | None = None,
        seed: int = 0,
        token_budget: int | None = None,
        **loading: Any,
    ) -> None:
        super().__init__()
        options = {k: v for k, v in loading.items() if k in LOADING}
        if str(options.get("device")).startswith("cuda") and not torch.cuda.is_available():
            # the harness asks every model for a GPU unless told otherwise
            del options["device"]
        unknown = loading.keys() - set(LOADING) - IGNORED
        if unknown:
            allowed = ", ".join(
                ("pretrained", "ablation", "donor", "seed", "token_budget", *LOADING)
            )
            raise UserError(f"model argument {min(unknown)}: allowed are {allowed}")
        self.model = (
            load_model(pretrained, **options) if isinstance(pretrained, str) else pretrained
        )
        self.ablation = ablation
        check_donor_used([as_ablation(ablation)], donor)
        donor_model = load_model(donor, **options) if donor else None
        self.edits = checked_edits(self.model, ablation, donor=donor_model)
        if self.edits.uses_mean or self.edits.is_by_example:
            taken = self.edits.uses_mean or self.edits.is_resampled
            purpose = "to take activations from" if taken else "of a task"
            raise UserError(f"{ablation}: it needs examples {purpose}; use `interp sweep`")
        self.seed = int(seed)
        self.decoder = decoder(self.model)
        self.tokenizer = self.decoder.tokenizer
        self.shortcuts = Shortcuts(token_budget=int(token_budget) if token_budget else None)

    @property
    def eot_token_id(self) -> int:
        """End of text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """In front of a text that has no context: BOS, or end of text where there is none."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.decoder.device

    @property
    def tokenizer_name(self) -> str:
        """For the harness' records."""
        return model_name(self.model)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_kwargs: Any
    ) -> list[int]:
        """Token ids; BOS by the tokenizer, and never twice."""
        if add_special_tokens is None:
            return encode(string, self.decoder)
        return list(self.tokenizer.encode(string, add_special_tokens=add_special_tokens))

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the model's own template writes it."""
        return chat_text(self.model, chat_history, add_generation_prompt=add_generation_prompt)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        # requests with equal contexts are options of one example, so that they share it
        examples: dict[tuple[int, ...], int] = {}
        made = [
            option_request(
                examples.setdefault(tuple(context), len(examples)), 0, context, after, self.decoder
            )
            for _, context, after in requests
        ]
        with tqdm(total=len(examples), disable=kwargs.get("disable_tqdm", False)) as bar:
            (scores,) = score_requests(
                self.model, made, [self.edits], shortcuts=self.shortcuts, done=bar.update
            )
        self._refuse_failures([not isfinite(value) for value, _ in scores], "requests")
        return scores

    def _refuse_failures(self, failed: Sequence[bool], what: str) -> None:
        """Stop where logits are not finite: the harness would count them as answers.

        Raises:
            UserError: one or more are.
        """
        if any(failed):
            raise UserError(
                f"model {model_name(self.model)}, ablation {self.ablation}: logits are not finite "
                f"in {sum(failed)} of {len(failed)} {what}, and lm-evaluation-harness has no mark "
                "for a failure; a number format of a wider range (bfloat16, float32) may hold "
                "them, and `interp sweep` records failures"
            )

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """The log-likelihood of whole texts, in disjoint windows of the context length."""
        windows, owner = [], []
        for number, request in enumerate(requests):
            (text,) = request.args
            for pair in get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.decoder.max_length,
                context_len=1,
            ):
                windows.append((None, *make_disjoint_window(pair)))
                owner.append(number)
        totals = [0.0] * len(requests)
        scores = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
        for number, (value, _) in zip(owner, scores, strict=True):
            totals[number] += value
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Answers, up to the first stop string; an instance that comes again is drawn again."""
        made, draws = [], Counter[int]()
        for number, request in enumerate(requests):
            made.append(self._generation(number, request, draws[id(request)]))
            draws[id(request)] += 1
        with tqdm(total=len(made), disable=disable_tqdm) as bar:
            (answers,) = generate(self.model, made, [self.edits], finished=lambda *_: bar.update(1))
        self._refuse_failures([bool(answer.failure) for answer in answers], "answers")
        return [answer.text for answer in answers]

    def _generation(self, number: int, request: Instance, draw: int) -> GenerationRequest:
        text, arguments = request.args
        doc_id, name = request.doc_id, str(request.task_name)
        number = number if doc_id is None else doc_id
        made = generation_request(number, text, arguments, self.decoder, task=name, seed=self.seed)
        return replace(made, draw=draw)
