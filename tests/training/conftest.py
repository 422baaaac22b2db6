"""A tiny base model with random weights, so that tests train for seconds and need no download."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "the",
    "a",
    "film",
    "meal",
    "is",
    "was",
    "and",
    "very",
    "not",
    "good",
    "great",
    "fine",
    "lovely",
    "bad",
    "awful",
    "dull",
    "poor",
    "sweet",
    "salty",
    ",",
    ".",
    "it",
    "tastes",
    "looks",
]
LAYERS = 4


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a four-layer BERT of random weights, its masked-language-model head and a fast tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.normalizer = BertNormalizer(lowercase=True)
    words.pre_tokenizer = BertPreTokenizer()
    words.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    fast: Any = transformers.PreTrainedTokenizerFast
    fast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    torch.manual_seed(1)
    transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=len(WORDS),
            hidden_size=32,
            num_hidden_layers=LAYERS,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=64,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def review_file(tmp_path: Path) -> Path:
    """240 labelled reviews that a tiny model can learn."""
    good, bad = ("good", "great", "fine", "lovely"), ("bad", "awful", "dull", "poor")
    lines = ["text\tlabel"]
    for i in range(240):
        words, label = (good, "positive") if i % 2 else (bad, "negative")
        filler = WORDS[5 + i % 7]
        lines.append(f"the {filler} {('film', 'meal')[i % 3 % 2]} was {words[i // 2 % 4]}\t{label}")
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path
