"""A tokenizer of whole words for random and planted models, which is not downloaded."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

SPECIAL = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3}


def word_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer with one token per word, from 4 on; BOS is added; white space separates words.

    Args:
        words: distinct words without white space.
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
    # TransformerLens loads a tokenizer a second time, from its source
    folder = tempfile.mkdtemp(prefix="words-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made.save_pretrained(folder)
    return AutoTokenizer.from_pretrained(folder)


def numbered_words(d_vocab: int) -> list[str]:
    """The words `w4`, `w5`, ...: token i is `w{i}`, with `d_vocab` tokens in all."""
    return [f"w{i}" for i in range(len(SPECIAL), d_vocab)]
