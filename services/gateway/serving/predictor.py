"""The predictor: the whole story of a call."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.call import Call
from gateway.caller import ROUTE_VERSION
from gateway.errors import InvalidRequestError
from gateway.serving.admission import Admission
from gateway.serving.catalog import Catalog
from gateway.serving.payload import Tensor
from gateway.serving.target import RawOptions, Target
from gateway.serving.tensors import Ints, Prediction
from gateway.serving.tokenizer import Text, chars

LOGGED_CHARACTERS = 80


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

    def __init__(
        self,
        catalog: Catalog,
        admission: Admission,
        *,
        max_texts: int,
        max_text_chars: int = 40_000,
        log_text_share: float = 0.0,
    ) -> None:
        self._catalog, self._admission = catalog, admission
        self._max_texts, self._max_text_chars, self._log_text_share = max_texts, max_text_chars, log_text_share

    async def predict(
        self, call: Call, model: str | None, texts: Sequence[Text], version: int | None = None, priority: int = 0
    ) -> Answer:
        """Answer texts from `model` (None: the default one). `priority`: 1 waits before 2, 0 (none) last."""
        if len(texts) > self._max_texts:
            raise InvalidRequestError(f"{len(texts)} texts are more than the {self._max_texts} of one call")
        if (longest := max(map(chars, texts))) > self._max_text_chars:
            raise InvalidRequestError(
                f"a text of {longest} characters is longer than the {self._max_text_chars} of one"
            )
        with self._admission:
            target = await self._choose(call, model, version)
            if self._log_text_share and random.random() < self._log_text_share:  # noqa: S311  # only chooses
                call.text = str(texts[0])[:LOGGED_CHARACTERS]
            tokenizing_s = time.monotonic()
            call.began("tokenize")
            rows = await target.encode(texts, call.deadline_s)
            call.steps_s["tokenize"] = time.monotonic() - tokenizing_s
            call.began("queue")
            outcome = await target.answer(rows, call.deadline_s, priority, call.trace)
            call.began(None)
            call.steps_s["queue"], call.steps_s["triton"] = outcome.queued_s, outcome.upstream_s
            return Answer(target, outcome.results)

    async def compute(
        self, call: Call, model: str, inputs: Mapping[str, Ints], version: int | None, options: RawOptions
    ) -> TensorAnswer:
        """Answer the caller's own tensors from `model`, passed through once they are known to be harmless."""
        with self._admission:
            target = await self._choose(call, model, version)
            started_s = time.monotonic()
            outputs = await target.compute(inputs, call.deadline_s, options, call.trace)
            call.began(None)
            call.steps_s["triton"] = time.monotonic() - started_s
            return TensorAnswer(target, outputs)

    async def _choose(self, call: Call, model: str | None, version: int | None) -> Target:
        """Return who answers: the routed version, or the one that a caller with the permission names."""
        name = model if model is not None else self._catalog.default_model()
        call.caller.check_model(name)
        target = self._catalog.target(name)
        call.model, call.version, call.cohort = target.manifest.model, target.version, target.cohort
        if version is None:
            version = call.route_version
        elif call.route_version not in (None, version):
            raise InvalidRequestError(f"the call names version {version}, its x-route-version {call.route_version}")
        if version is not None and version != target.manifest.version:
            if version in self._catalog.models[name].stored.versions:
                call.caller.check_permission(
                    ROUTE_VERSION, f"version {version} of model {name!r}, not the one that answers,"
                )
            target = await self._catalog.override(name, version)
            call.version, call.cohort = target.version, target.cohort
        return target
