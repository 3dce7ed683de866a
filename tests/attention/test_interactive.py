"""The interactive view: what circuitsvis is given, and what is said without it."""

import json
import re
import socket
import sys

import pytest
import torch

import interp
from interp.attention.interactive import MOST_TOKENS, attention_view
from interp.errors import UserError
from tests.helpers.families import tiny_bridge


@pytest.fixture
def view(monkeypatch):
    pytest.importorskip("circuitsvis")

    def refuse(*_args, **_kwargs):
        raise AssertionError("the view reached for the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attention_view


def shown(html: str) -> dict:
    """What the view's program is asked to draw: the JSON in its last call."""
    return json.loads(re.search(r"CircuitsVis\.AttentionHeads,\s*(\{.*\})\s*\)", html, re.S)[1])


@pytest.mark.slow
def test_the_view_holds_the_rows_and_needs_no_network(view):
    model = tiny_bridge("llama")
    rows = interp.attention_rows(model, [5, 9, 7, 5, 9], queries=[-1, 2])
    html = rows.show([(1, 0), (0, 3)])._repr_html_()
    assert "unpkg.com" not in html
    drawn = shown(html)
    assert drawn["attentionHeadNames"] == ["L1H0", "L0H3"]
    assert drawn["tokens"] == list(rows.texts)
    square = torch.tensor(drawn["attention"])
    assert square.shape == (2, 5, 5)
    torch.testing.assert_close(square[:, [4, 2]], rows.rows[[1, 0], [0, 3]])
    assert square[:, [0, 1, 3]].count_nonzero() == 0


def test_a_token_cannot_end_the_script(view):
    rows = torch.ones(1, 1, 2) / 2
    html = view(rows, queries=[1], texts=["a", "</script>"], heads=[(0, 0)]).html
    assert html.count("</script>") == 1
    assert html.rstrip().endswith("</script>")


def test_what_cannot_be_shown_is_said(monkeypatch):
    rows = torch.zeros(1, 1, MOST_TOKENS + 1)
    with pytest.raises(UserError, match=r"513 tokens: .* at most 512"):
        attention_view(rows, queries=[1], texts=["a"] * (MOST_TOKENS + 1), heads=[(0, 0)])
    found = interp.attention_rows(tiny_bridge("llama"), [5, 9, 7])
    with pytest.raises(UserError, match="head L9H0: the model has layers 0-"):
        found.show([(9, 0)])
    with pytest.raises(UserError, match="no head was named"):
        found.show([])
    monkeypatch.setitem(sys.modules, "circuitsvis", None)
    monkeypatch.setitem(sys.modules, "circuitsvis.attention", None)
    with pytest.raises(UserError, match=r"interp\[notebooks\]") as error:
        found.show([(0, 0)])
    assert "\n" not in str(error.value)
