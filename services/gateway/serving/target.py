"""A target: one verified version, ready to answer texts and tensors through Triton."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gateway.errors import InvalidRequestError, OverloadedError, UpstreamFailedError
from gateway.metrics import Metrics
from gateway.serving import tensors
from gateway.serving.admission import RawShare
from gateway.serving.batcher import Batcher, BatchLimits, BatchReport, Outcome
from gateway.serving.payload import Tensor
from gateway.serving.repository import StoredVersion
from gateway.serving.tensors import Ints, Prediction
from gateway.serving.tokenizer import Text, Tokenizer, Tokens
from gateway.trace_context import TraceContext, carry
from gateway.upstream.triton import Triton


@dataclass(frozen=True, slots=True)
class Batching:
    """The operator's part of the batch limits; the manifest's limits hold as well."""

    max_rows: int
    max_in_flight: int
    max_queue_rows: int


@dataclass(frozen=True, slots=True)
class RawOptions:
    """What a call with its own tensors wants of Triton: its priority (0: none), its best `classes` (0: all logits)."""

    priority: int = 0
    classes: int = 0


class Target:
    """Answers from one version; `cohort` says why callers come here.

    Making one raises VersionRejectedError when the tokenizer cannot be used.
    """

    def __init__(
        self, stored: StoredVersion, triton: Triton, batching: Batching, metrics: Metrics, *, cohort: str
    ) -> None:
        manifest = self.manifest = stored.manifest
        self.cohort = cohort
        self.version = str(manifest.version)
        self._triton = triton
        self._pad = tensors.padding(manifest)
        self._tokenizer = Tokenizer(stored.tokenizer_json, max_length=manifest.max_length, pair=manifest.pair)
        limits = BatchLimits(
            max_rows=min(batching.max_rows, manifest.max_batch_size),
            max_tokens=manifest.max_tokens,
            max_in_flight=batching.max_in_flight,
            max_queue_rows=batching.max_queue_rows,
            pad=self._pad,
        )
        # As much as the batches of texts may hold, so texts have half of the server however many such calls there are.
        in_flight = batching.max_in_flight
        self._raw = RawShare(in_flight * limits.max_rows, in_flight * limits.max_tokens, metrics)
        which = (manifest.model, self.version)
        self._batch_rows = metrics.batch_rows.labels(*which)
        self._padding = metrics.padding.labels(*which)
        self._queue_seconds = metrics.queue_seconds.labels(*which)
        self._shed = metrics.shed.labels("queue")
        self._upstream_seconds = metrics.upstream_seconds.labels(*which)
        self.batcher: Batcher[Tokens, Prediction] = Batcher(self._send, limits, self._observe)

    async def encode(self, texts: Sequence[Text], deadline_s: float) -> list[Tokens]:
        """Tokenize; raises InvalidRequestError when texts are not what this model reads, DeadlineExceededError."""
        expected = tuple if self.manifest.pair else str
        if not all(isinstance(text, expected) for text in texts):
            raise InvalidRequestError(
                f"model {self.manifest.model!r} reads "
                + ("pairs of texts, not single texts" if self.manifest.pair else "single texts, not pairs")
            )
        return await self._tokenizer.encode(texts, deadline_s)

    async def answer(
        self, rows: Sequence[Tokens], deadline_s: float, priority: int = 0, trace: TraceContext | None = None
    ) -> Outcome[Prediction]:
        """Return one prediction a row, in order, computed in whatever batches are best."""
        if trace is not None:
            rows = [replace(row, trace=trace) for row in rows]
        try:
            return await self.batcher.submit(rows, deadline_s, priority)
        except OverloadedError:
            self._shed.inc()
            raise

    async def compute(
        self,
        inputs: Mapping[str, Ints],
        deadline_s: float,
        options: RawOptions,
        trace: TraceContext | None = None,
    ) -> list[Tensor]:
        """Return Triton's answer to the caller's own tensors, one call to Triton.

        Raises InvalidRequestError, OverloadedError.
        """
        tensors.check(inputs, self.manifest)
        started_s = time.monotonic()
        message = tensors.request(self.manifest.model, self.manifest.version, inputs, options.classes)
        if options.priority:
            message.parameters["priority"].uint64_param = options.priority
        with self._raw.taken(*inputs["input_ids"].shape):
            response = await self._triton.infer(message, deadline_s - started_s, carry([trace] if trace else []))
        self._upstream_seconds.observe(time.monotonic() - started_s)
        return tensors.payloads(response)

    async def is_ready(self, deadline_s: float) -> bool:
        """Ask Triton whether it serves this version now."""
        left_s = deadline_s - time.monotonic()
        return await self._triton.is_ready(self.manifest.model, self.manifest.version, left_s)

    async def config(self, deadline_s: float) -> Any:
        """Return Triton's ModelConfigResponse for this version."""
        return await self._triton.model_config(
            self.manifest.model, self.manifest.version, deadline_s - time.monotonic()
        )

    async def statistics(self, deadline_s: float) -> Any:
        """Return Triton's ModelStatisticsResponse for this version."""
        left_s = deadline_s - time.monotonic()
        return await self._triton.model_statistics(self.manifest.model, self.manifest.version, left_s)

    async def _send(
        self, rows: Sequence[Tokens], timeout_s: float, hurried_s: float
    ) -> list[Prediction | UpstreamFailedError]:
        manifest = self.manifest
        message = tensors.request(manifest.model, manifest.version, tensors.pack(rows, manifest, self._pad))
        traces = [row.trace for row in rows if row.trace is not None]
        response = await self._triton.infer(message, timeout_s, carry(traces), hurried_s)
        return tensors.decode(tensors.logits(response, len(rows)), manifest.labels)

    def _observe(self, report: BatchReport) -> None:
        self._batch_rows.observe(report.rows)
        self._padding.observe(report.padding_ratio)
        self._queue_seconds.observe(report.queued_s)
        self._upstream_seconds.observe(report.upstream_s)
