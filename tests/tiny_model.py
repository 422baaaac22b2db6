"""A tiny real model, published: an ONNX sentiment classifier that counts good and bad words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer as WordTokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from training.manifest import (
    Baseline,
    Candidate,
    Description,
    Latency,
    Limits,
    Provenance,
    Quality,
    SemanticReplay,
    Sizes,
    StaticEmbedder,
    Tokenizer,
)
from training.publish import Published, publish

LABELS = ("negative", "positive")
GOOD = ("good", "great", "fine", "love", "lovely")
BAD = ("bad", "awful", "dull", "hate", "poor")
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "the", "film", "movie", "is", "and", "very", *GOOD, *BAD)
MAX_LENGTH = 32
MAX_BATCH_SIZE = 16
TABLE = "token-vectors.int8"
EMBEDDER_WIDTH = 32


def config_pbtxt(kind: str = "KIND_CPU", batching: str = "", parameters: Mapping[str, str] | None = None) -> str:
    """Return a config.pbtxt; `batching` is what stands inside `dynamic_batching`."""
    options = "".join(
        f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        for key, value in (parameters or {}).items()
    )
    return f"""
backend: "onnxruntime"
max_batch_size: {MAX_BATCH_SIZE}
input [
  {{ name: "input_ids" data_type: TYPE_INT64 dims: [ -1 ] }},
  {{ name: "attention_mask" data_type: TYPE_INT64 dims: [ -1 ] }}
]
output [ {{ name: "logits" data_type: TYPE_FP32 dims: [ -1 ] }} ]
instance_group [ {{ count: 1 kind: {kind} }} ]
dynamic_batching {{ {batching} }}
{options}"""


def publish_tiny(
    repository: Path,
    model: str = "tiny",
    *,
    swapped: bool = False,
    broken: bool = False,
    kind: str = "KIND_CPU",
    batching: str = "",
    parameters: Mapping[str, str] | None = None,
    embedder: bool = False,
) -> Published:
    """Publish the next version of `model`.

    `swapped` answers the opposite label, so that versions can be told apart; `broken` verifies but does not load;
    `embedder` adds a table of token vectors; the rest goes into config.pbtxt.
    """
    with TemporaryDirectory() as scratch:
        network, tokenizer = Path(scratch, "model.onnx"), Path(scratch, "tokenizer.json")
        network.write_bytes(b"no network" if broken else tiny_onnx(swapped=swapped).SerializeToString())
        tokenizer.write_text(tiny_tokenizer().to_str())
        description, files = (
            tiny_description(network.stat().st_size),
            {"model.onnx": network, "tokenizer.json": tokenizer},
        )
        if embedder:
            files[TABLE] = Path(scratch, TABLE)
            files[TABLE].write_bytes(tiny_table().tobytes())
            replay = SemanticReplay("test", 2, "2*s1-s2+0.1*votes of 8", start_threshold=1.7, share=0.5, wrong=0.0)
            description = replace(description, embedder=StaticEmbedder(TABLE, EMBEDDER_WIDTH), replay=replay)
        return publish(
            repository,
            model,
            description,
            files,
            config_pbtxt(kind, batching, parameters),
        )


def tiny_onnx(*, swapped: bool = False) -> onnx.ModelProto:
    """input_ids, attention_mask INT64 [batch, length] -> logits FP32 [batch, 2]; an id past the vocabulary fails."""
    table = np.zeros((len(WORDS), len(LABELS)), dtype=np.float32)
    for word in GOOD:
        table[WORDS.index(word), 1] = 2
    for word in BAD:
        table[WORDS.index(word), 0] = 2
    if swapped:
        table = table[:, ::-1].copy()
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["embedded"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
            helper.make_node("Mul", ["embedded", "mask3"], ["masked"]),
            helper.make_node("ReduceSum", ["masked", "middle"], ["logits"], keepdims=0),
        ],
        "tiny",
        [_tensor("input_ids", TensorProto.INT64), _tensor("attention_mask", TensorProto.INT64)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last"),
            numpy_helper.from_array(np.array([1], dtype=np.int64), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def tiny_table() -> npt.NDArray[np.int8]:
    """[vocabulary, width]: every word has a direction of its own; good and bad words are two more."""
    table = np.zeros((len(WORDS), EMBEDDER_WIDTH), dtype=np.int8)
    for number in range(4, len(WORDS)):  # the first four say nothing
        table[number, number] = 20
    for side, words in enumerate((GOOD, BAD)):
        for word in words:
            table[WORDS.index(word), EMBEDDER_WIDTH - 1 - side] = 120
    return table


def tiny_tokenizer(words: Sequence[str] = WORDS) -> WordTokenizer:
    """Lowercased words and punctuation, [CLS] text [SEP]."""
    tokenizer = WordTokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))],
    )
    return tokenizer


def tiny_description(size: int) -> Description:
    """A complete description whose figures say that nothing was trained."""
    candidate = Candidate("fp32", 1.0, 0.0, size, {"16": 0.1}, admitted=True, reason="the only artefact")
    return Description(
        task="classification",
        target="cpu",
        artefact="fp32",
        labels=LABELS,
        tokenizer=Tokenizer(MAX_LENGTH, len(WORDS), pad_id=0, lowercase=True, normalizer=("BertNormalizer",)),
        limits=Limits(MAX_BATCH_SIZE, MAX_BATCH_SIZE * MAX_LENGTH),
        quality=Quality("accuracy", "test", 2, teacher=1.0, student_fp32=1.0, published=1.0),
        batch_flip_rate=0.0,
        candidates=(candidate,),
        latency=Latency("test", threads=1, batch=1, published_ms={"16": 0.1}, teacher_ms={"16": 0.1}),
        size_bytes=Sizes(published=size, student_fp32=size, teacher_fp32=size),
        training=Provenance("0" * 64, "0" * 64, {}, seed=0, seconds=0.0, versions={}),
        parent="tiny",
        baseline=Baseline({"negative": 0.5, "positive": 0.5}, (0,) * 19 + (2,), rows=2),
    )


def _tensor(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", "length"])
