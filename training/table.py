"""The embedding table: a vector for each token, whose sum says how near two texts are to the model that answers them.

It is read off the encoder (what it makes of each token alone, 256 principal components, frequent tokens weighing less)
and then trained until the sum of a text's vectors, through one linear layer, answers as the student does. On CLINC150
the training lifts what a cache can answer at 1 % wrong from .63 to .86 of the requests, on texts that neither student
nor table ever saw from .40 to .60 (docs/decisions.md). No library does this: model2vec's first half needs an older
transformers, and its second half a head of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from training.config import Embedder
from training.encoding import Encoded

FILE = "token-vectors.int8"
FREQUENT = 0.01  # a token that is such a share of all tokens weighs half
LARGEST = 127
TINY = float(np.finfo(np.float32).tiny)
ENCODED_AT_ONCE = 512
ROWS = 128
DROPPED = 0.2  # of each text's tokens, so that no single one decides
SHARPNESS = 20.0  # cosines are at most 1, logits are not
TEMPERATURE = 2.0
LEARNING_RATE = 1e-3
HEAD_LEARNING_RATE = 1e-2

Floats = npt.NDArray[np.float32]
Int8s = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Words:
    """How a tokenizer frames a text (`before` and `after` it), and which ids (`special`) say nothing."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    special: tuple[int, ...]

    @classmethod
    def of(cls, serving: Tokenizer, special: Sequence[int]) -> "Words":
        """Read the frame off an encoded text; `special` are also the unknown token's and the mask's ids."""
        found = serving.encode("a")
        inside = [place for place, is_special in enumerate(found.special_tokens_mask) if not is_special]
        first, last = (inside[0], inside[-1] + 1) if inside else (len(found.ids), len(found.ids))
        return cls(tuple(found.ids[:first]), tuple(found.ids[last:]), tuple(special))


def distil(config: Embedder, model: Any, words: Words, train: Encoded, answers: Tensor, seed: int) -> Int8s:
    """Return the table [vocabulary, width] of a classifier; `answers` are its logits [rows, labels] on `train`."""
    read = read_off(model, words, train, config.width)
    return quantise(fit(read, words, train, answers, epochs=config.epochs, seed=seed))


def read_off(model: Any, words: Words, train: Encoded, width: int) -> Floats:
    """Return [vocabulary, width]: what the encoder makes of each token alone, weighted by how rare it is in `train`."""
    vectors = _encoded_tokens(model, words)
    counts = np.bincount([token for row in train.ids for token in row], minlength=len(vectors)).astype(np.float64)
    counts[list(words.special)] = 0
    weights = FREQUENT / (FREQUENT + counts / max(counts.sum(), 1))
    table = _principal(vectors, width) * weights[:, np.newaxis]
    table[list(words.special)] = 0
    length = np.linalg.norm(table[counts > 0], axis=1).mean() if counts.any() else 1.0
    scaled: Floats = (table / max(float(length), TINY)).astype(np.float32)
    return scaled


def fit(table: Floats, words: Words, train: Encoded, answers: Tensor, *, epochs: int, seed: int) -> Floats:
    """Return the table trained on `answers`; tokens that `train` does not hold keep their vectors."""
    seen = np.setdiff1d(np.unique([token for row in train.ids for token in row]), words.special)
    if not len(seen):
        return table
    place = np.full(len(table), -1)
    place[seen] = np.arange(len(seen))
    rows = [torch.from_numpy(found[found >= 0]) for found in (place[list(row)] for row in train.ids)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        vectors = nn.Parameter(torch.from_numpy(table[seen].copy()))
        _fit(vectors, rows, answers.detach().float().cpu(), epochs)
    trained = table.copy()
    trained[seen] = vectors.detach().numpy()
    return trained


def quantise(table: Floats) -> Int8s:
    """Return the table as INT8. Its scale is kept nowhere: normalising a text's sum takes it out again."""
    largest = max(float(np.abs(table).max()), TINY)
    values: Int8s = np.rint(table * (LARGEST / largest)).astype(np.int8)
    return values


def embed(table: Int8s | Floats, rows: Sequence[Sequence[int]]) -> Floats:
    """Return the texts' vectors [rows, width] of length 1; of length 0 where all tokens are special or unknown."""
    sums = np.stack([table[list(row)].sum(axis=0, dtype=np.float32) for row in rows])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    vectors: Floats = sums / np.maximum(lengths, TINY)
    return vectors


def save(table: Int8s, path: Path) -> Path:
    """Write the values row by row, without a header: the manifest has the shape."""
    path.write_bytes(table.tobytes())
    return path


def _encoded_tokens(model: Any, words: Words) -> Floats:
    encoder = model.base_model.eval()
    device = next(encoder.parameters()).device
    size = model.config.vocab_size
    found = np.zeros((size, model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in tqdm(range(0, size, ENCODED_AT_ONCE), desc="token vectors", unit="batch"):
            stop = min(size, start + ENCODED_AT_ONCE)
            ids = torch.tensor([[*words.before, token, *words.after] for token in range(start, stop)], device=device)
            states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            found[start:stop] = states[:, len(words.before)].float().cpu().numpy()
    return found


def _principal(vectors: Floats, width: int) -> npt.NDArray[np.float64]:
    """The first `width` principal components; zeros where there are fewer."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    found = centred @ directions[:, ::-1][:, :width]
    return np.pad(found, ((0, 0), (0, width - found.shape[1])))


def _fit(vectors: nn.Parameter, rows: Sequence[Tensor], answers: Tensor, epochs: int) -> None:
    head = nn.Linear(vectors.shape[1], answers.shape[1])
    optimizer = torch.optim.Adam(
        [{"params": [vectors], "lr": LEARNING_RATE}, {"params": head.parameters(), "lr": HEAD_LEARNING_RATE}]
    )
    wanted = functional.log_softmax(answers / TEMPERATURE, dim=1)
    for _ in tqdm(range(epochs), desc="embedding table", unit="epoch"):
        for chosen in torch.split(torch.randperm(len(rows)), ROWS):
            texts = [rows[number] for number in chosen]
            tokens = torch.cat(texts)
            starts = torch.tensor([0, *(len(text) for text in texts[:-1])]).cumsum(0)
            kept = (torch.rand(len(tokens)) >= DROPPED).float()
            sums = functional.embedding_bag(tokens, vectors, starts, mode="sum", per_sample_weights=kept)
            logits = head(functional.normalize(sums, dim=1)) * (SHARPNESS / TEMPERATURE)
            found = functional.log_softmax(logits, dim=1)
            loss = functional.kl_div(found, wanted[chosen], log_target=True, reduction="batchmean") * TEMPERATURE**2
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
