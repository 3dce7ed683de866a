"""Plain forward hooks on Hugging Face models of one row: what ablations are held against."""

from contextlib import ExitStack, contextmanager

import torch

LAYER = 1
# what each sublayer adds to the residual stream leaves these modules, in attention and MLP order
ENDS = {
    "llama": ("self_attn", "mlp"),
    "gemma2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "gpt_neox": ("attention", "mlp"),
    "bloom": ("self_attention.dense", "mlp.dense_4h_to_h"),
    "opt": ("self_attn", "fc2"),
    "gpt2": ("attn", "mlp"),
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "gemma3": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "mistral": ("self_attn", "mlp"),
    "mixtral": ("self_attn", "mlp"),
    "qwen3": ("self_attn", "mlp"),
    "qwen3_moe": ("self_attn", "mlp"),
    "phi3": ("self_attn", "mlp"),
}


def block_of(plain):
    blocks = next(m for m in plain.modules() if isinstance(m, torch.nn.ModuleList))
    return blocks[LAYER]


def module_of(family, plain, form):
    block = block_of(plain)
    if form == "layer":
        return block
    return block.get_submodule(ENDS[family][0 if form == "attn" else 1])


def first(out):
    return out[0] if isinstance(out, tuple) else out


def entering(args, kwargs):
    return args[0] if args else kwargs["hidden_states"]


def contribution(family, plain, form, tokens):
    """What a part adds on one row, `[pos, d_model]`."""
    seen = []

    def look(_module, args, kwargs, out):
        before = entering(args, kwargs) if form == "layer" else 0
        seen.append((first(out) - before).reshape(len(tokens), -1))

    handle = module_of(family, plain, form).register_forward_hook(look, with_kwargs=True)
    with torch.no_grad():
        plain(torch.tensor([tokens]), use_cache=False)
    handle.remove()
    return seen[0]


@contextmanager
def adding(family, plain, form, there, *, where=None):
    """Inside the context a part adds `there` (`[pos, d_model]` of the row, or one vector).

    With `where` (`[pos]`), at these positions only.
    """

    def put(_module, args, kwargs, out):
        added = there.expand_as(first(out).reshape(-1, there.shape[-1])).view_as(first(out))
        if form == "layer":
            added = entering(args, kwargs) + added
        if where is not None:
            flat, whole = added.reshape(-1, there.shape[-1]), first(out)
            kept = whole.reshape(-1, there.shape[-1])
            added = torch.where(where[:, None], flat, kept).view_as(whole)
        return (added, *out[1:]) if isinstance(out, tuple) else added

    with ExitStack() as stack:
        hook = module_of(family, plain, form).register_forward_hook(put, with_kwargs=True)
        stack.callback(hook.remove)
        yield


def logits_of(plain, tokens):
    with torch.no_grad():
        return plain(torch.tensor([tokens]), use_cache=False).logits[0]
