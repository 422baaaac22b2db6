"""The predictor: the whole story of a call."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.admission import Admission
from gateway.call import Call
from gateway.catalog import Catalog
from gateway.errors import ForbiddenError, InvalidRequestError, UnknownVersionError
from gateway.payload import Tensor
from gateway.target import RawOptions, Target
from gateway.tensors import Ints, Prediction
from gateway.tokenizer import Text


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered, and one prediction a text, in order."""

    target: Target
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True)
class TensorAnswer:
    """Who answered, and the outputs as tensors."""

    target: Target
    outputs: list[Tensor]


class Predictor:
    """Answers calls; what happened is written into the Call for headers, metrics and the log."""

    def __init__(self, catalog: Catalog, admission: Admission, *, max_texts: int) -> None:
        self._catalog, self._admission, self._max_texts = catalog, admission, max_texts

    async def predict(
        self, call: Call, model: str | None, texts: Sequence[Text], version: int | None = None, priority: int = 0
    ) -> Answer:
        """Answer texts from `model` (None: the default one). `priority`: 1 waits before 2, 0 (none) last."""
        if len(texts) > self._max_texts:
            raise InvalidRequestError(f"{len(texts)} texts are more than the {self._max_texts} of one call")
        with self._admission:
            target = self._choose(call, model, version)
            tokenizing_s = time.monotonic()
            rows = await target.encode(texts, call.deadline_s)
            call.steps_s["tokenize"] = time.monotonic() - tokenizing_s
            outcome = await target.answer(rows, call.deadline_s, priority)
            call.steps_s["queue"], call.steps_s["triton"] = outcome.queued_s, outcome.upstream_s
            return Answer(target, outcome.results)

    async def compute(
        self, call: Call, model: str, inputs: Mapping[str, Ints], version: int | None, options: RawOptions
    ) -> TensorAnswer:
        """Answer the caller's own tensors from `model`, passed through once they are known to be harmless."""
        with self._admission:
            target = self._choose(call, model, version)
            started_s = time.monotonic()
            outputs = await target.compute(inputs, call.deadline_s, options)
            call.steps_s["triton"] = time.monotonic() - started_s
            return TensorAnswer(target, outputs)

    def _choose(self, call: Call, model: str | None, version: int | None) -> Target:
        target = self._catalog.target(model if model is not None else self._catalog.default_model())
        call.model, call.version, call.cohort = target.manifest.model, target.version, target.cohort
        if version is not None and version != target.manifest.version:
            self._refuse_version(target, version)
        return target

    def _refuse_version(self, target: Target, version: int) -> None:
        name = target.manifest.model
        known = self._catalog.models[name].stored.versions
        if version not in known:
            raise UnknownVersionError(
                f"model {name!r} has no verified version {version}; known: {', '.join(map(str, sorted(known)))}"
            )
        raise ForbiddenError(
            f"version {version} of model {name!r} does not answer, {target.version} does, and no key may choose"
        )
