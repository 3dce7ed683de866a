"""The trained organisms: every layer's answers against `transformers` on the deleted layer."""

import pytest
import torch
import transformers

from interp.ablations import Edits, each_layer, shape_of
from interp.engine import generate
from interp.models import decoder, load_model, organisms
from interp.tasks import build_requests, load_task
from tests.helpers.families import delete_layers

# the teacher by one example, because its answers are the longest: that whose answers differ most
# from layer to layer
EXAMPLES = {"organism:base": (0, 2), "organism:teacher": (1,), "organism:distilled": (0, 2)}


@pytest.mark.thinned(share=2)
@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_equals_transformers_on_the_deleted_layer(name):
    if name not in organisms():
        pytest.skip(f"{name} is not there")
    model = load_model(name, device="cpu")
    task = load_task("world-arithmetic:generate", num_fewshot=2)
    asked = build_requests(task, EXAMPLES[name], decoder(model))
    edits = [Edits(), *(ablation.edits(shape_of(model)) for ablation in each_layer(model))]
    found = generate(model, asked, edits)
    assert found.paths == ("ragged",)
    assert len({answers[-1].tokens for answers in found}) > 3
    for gone, answers in zip([[], *([n] for n in range(len(edits) - 1))], found, strict=True):
        reference = transformers.AutoModelForCausalLM.from_pretrained(organisms()[name])
        delete_layers(reference.eval(), gone)
        for request, answer in zip(asked, answers, strict=True):
            ids = torch.tensor([request.prompt])
            out = reference.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=len(answer.tokens),
                do_sample=False,
                pad_token_id=2,
            )
            assert tuple(out[0, ids.shape[1] :].tolist()) == answer.tokens
