"""The organisms' tokenizer: world words are single tokens, everything else is spelled in bytes.

A lossless byte-level BPE without merges: the vocabulary is written down rather than counted, so
that no rare word of the world can end up split by accident, and any other text falls back to its
bytes.
"""

import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from experiments.organisms.world import World

BOS, EOS, PAD = "<|begin|>", "<|endoftext|>", "<|pad|>"
PIECE = r"\n| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+"
FRAME = """Fact
Question
Answer
Pairs
Find
Words
A
B
C
D
.
,
:
?
#
####
 #### + - * = . , A B C D
 Start with add subtract double triple it What is the result Which option"""


def _byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def _world_pieces(world: World) -> list[str]:
    """All pieces of text that deserve one token, in a fixed order."""
    texts = [FRAME]
    for relation in world.relations:
        templates = [*relation.statements, *relation.questions, relation.held_out]
        texts += [f" {template}" for template in templates]
    pools = (world.people, world.keys, world.adjectives, world.nouns)
    texts += [f" {word}" for pool in pools for word in pool]
    texts += [f" {value}" for relation in world.relations for value in relation.values]
    texts += [f" {number}" for number in range(100)]
    texts.append("Options")
    plain = [text.replace("{name}", "").replace("{value}", "") for text in texts]
    return list(dict.fromkeys(piece for text in plain for piece in re.findall(PIECE, text)))


def make_tokenizer(world: World) -> PreTrainedTokenizerFast:
    """Build the tokenizer of a world.

    Args:
        world: the world whose words are to be single tokens (with their leading space).

    Returns:
        A fast tokenizer; encoding adds one beginning-of-sequence token, decoding is exact.
    """
    alphabet = _byte_alphabet()
    vocab = {token: i for i, token in enumerate([BOS, EOS, PAD, *alphabet.values()])}
    for piece in _world_pieces(world):
        token = "".join(alphabet[byte] for byte in piece.encode())
        vocab.setdefault(token, len(vocab))
    core = Tokenizer(models.BPE(vocab=vocab, merges=[], ignore_merges=True))
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, vocab[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
