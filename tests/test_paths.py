"""What names no path is refused in one line by every door that takes a folder."""

import pytest

from tests.helpers.task_files import write_task
from tests.helpers.unchecked import outcomes

SETUP = """
import interp
from interp.ablations import prune
from interp.attention import retrieval_heads
from interp.errors import path_given
from interp.lens import load_tuned_lens
from interp.similarity import layer_similarity
from interp.tasks import load_task
from tests.helpers.families import tiny_bridge
model = tiny_bridge("llama")
"""
GIVEN = ["[]", "['runs']", "3", "float('nan')", "True", "b'runs'", "''", "'a' + chr(0)", "object()"]
DOORS = [
    "interp.sweep(model, [TASK], ['layer:0'], out=[])",
    "interp.logit_lens(model, TASK, out=[])",
    "interp.compare({'a': model, 'b': model}, [TASK], out=[])",
    "layer_similarity(model, ['w5 w6'], out=[])",
    "retrieval_heads(model, TASK, out=[])",
    "prune('organism:base', 'layer:0', out=[])",
    "load_task(TASK, data=[])",
    "load_tuned_lens([])",
    "interp.open_run([])",
]


@pytest.mark.slow
def test_what_names_no_path_is_refused_in_one_line_by_every_door(tmp_path):
    setup = SETUP + f"TASK = {str(write_task(tmp_path))!r}\n"
    asked = [f"path_given('out', {given})" for given in GIVEN]
    found = outcomes(setup, ["path_given('out', 'runs')", *asked, *DOORS])
    assert found.pop("path_given('out', 'runs')") == "fine"
    for statement, end in found.items():
        assert end.startswith("UserError: "), (statement, end)
        assert end.endswith("allowed is the path of a folder"), (statement, end)
