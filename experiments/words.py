"""A tokenizer of whole words for random and planted models, made here and not downloaded."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SPECIAL = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a word, from 4 on; BOS is added once; white space separates.

    Args:
        words: distinct, without white space.
    """
    vocab = SPECIAL | {word: len(SPECIAL) + i for i, word in enumerate(words)}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        padding_side="right",
    )
    # TransformerLens loads a tokenizer a second time, from where it came from
    folder = tempfile.mkdtemp(prefix="words-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def numbered_words(d_vocab: int) -> list[str]:
    """`w4`, `w5`, ...: the word of token i is `w{i}`, up to `d_vocab` tokens in all."""
    return [f"w{i}" for i in range(len(SPECIAL), d_vocab)]
