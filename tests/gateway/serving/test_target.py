"""A target: texts and tensors of one version through Triton."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from gateway.errors import InvalidRequestError, OverloadedError, UpstreamFailedError
from gateway.metrics import Metrics
from gateway.serving.repository import Repository
from gateway.serving.target import Batching, RawOptions, Target
from gateway.trace_context import Metadata
from gateway.upstream.triton import Triton
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.serving.test_batcher import soon_s


@pytest.fixture
async def target(published: Path, fake_triton: FakeTriton) -> AsyncIterator[Target]:
    """The tiny model's stable version, 4 rows a batch."""
    metrics = Metrics()
    triton = Triton([fake_triton.url], metrics)
    await triton.open()
    stored = Repository(str(published)).scan({})["tiny"].versions[1]
    yield Target(stored, triton, Batching(4, 2, 100), metrics, cohort="stable")
    await triton.close()


async def test_texts_are_answered_in_order_in_batches(target: Target, fake_triton: FakeTriton) -> None:
    rows = await target.encode(["good", "bad", "good good", "dull", "fine", "hate film"], soon_s())
    outcome = await target.answer(rows, soon_s())
    labels = [prediction.label for prediction in outcome.results]
    assert labels == ["positive", "negative", "positive", "negative", "positive", "negative"]
    assert sorted(request.inputs[0].shape[0] for request in fake_triton.requests) == [2, 4]


async def test_a_batch_is_padded_to_its_longest_row(target: Target, fake_triton: FakeTriton) -> None:
    await target.answer(await target.encode(["good", "a very very good film"], soon_s()), soon_s())
    assert list(fake_triton.requests[0].inputs[0].shape) == [2, 7]


async def test_pairs_are_refused(target: Target) -> None:
    with pytest.raises(InvalidRequestError, match="single texts, not pairs"):
        await target.encode(["a", ("b", "c")], soon_s())


async def test_tensors_are_checked_then_computed(target: Target, fake_triton: FakeTriton) -> None:
    ids = np.full((2, 3), 11, dtype=np.int64)
    (logits,) = await target.compute({"input_ids": ids, "attention_mask": np.ones_like(ids)}, soon_s(), RawOptions())
    assert (logits.name, logits.shape, logits.elements()) == ("logits", (2, 2), [0, 6, 0, 6])
    with pytest.raises(InvalidRequestError):
        await target.compute({"input_ids": ids}, soon_s(), RawOptions())
    assert len(fake_triton.requests) == 1


async def test_calls_with_tensors_beyond_their_share_are_refused_and_texts_are_not(
    target: Target, fake_triton: FakeTriton
) -> None:
    ids = np.full((4, 3), 11, dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    fake_triton.delay_s = 0.2
    raw = [target.compute(inputs, soon_s(), RawOptions()) for _ in range(5)]  # 2 batches in flight, 4 rows each
    rows = await target.encode(["good"], soon_s())
    *answers, text = await asyncio.gather(*raw, target.answer(rows, soon_s()), return_exceptions=True)
    assert [type(answer) for answer in answers] == [list, list, OverloadedError, OverloadedError, OverloadedError]
    assert not isinstance(text, BaseException)
    await target.compute(inputs, soon_s(), RawOptions())


async def test_a_batch_tells_triton_of_its_most_and_its_least_patient_caller(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, float]] = []

    async def infer(_: Triton, request: Any, timeout_s: float, metadata: Metadata, hurried_s: float) -> Any:  # noqa: ARG001
        told.append((timeout_s, hurried_s))
        raise UpstreamFailedError("asked")

    monkeypatch.setattr(Triton, "infer", infer)
    rows = await target.encode(["good", "bad"], soon_s())
    calls = [target.answer([row], time.monotonic() + left_s) for row, left_s in zip(rows, (1, 60), strict=True)]
    await asyncio.gather(*calls, return_exceptions=True)
    ((patient_s, hurried_s),) = told
    assert 59 < patient_s <= 60
    assert 0.5 < hurried_s <= 1


async def test_numbers_that_are_not_finite_fail_their_own_row_alone(target: Target, fake_triton: FakeTriton) -> None:
    fake_triton.answer = service_pb2.ModelInferResponse(model_name="tiny", model_version="1")
    fake_triton.answer.outputs.add(name="logits", datatype="FP32", shape=(2, 2))
    fake_triton.answer.raw_output_contents.append(np.array([[0, np.nan], [0, 1]], dtype=np.float32).tobytes())
    rows = await target.encode(["good", "bad"], soon_s())
    failed, answered = await asyncio.gather(*(target.answer([row], soon_s()) for row in rows), return_exceptions=True)
    assert isinstance(failed, UpstreamFailedError)
    assert not isinstance(answered, BaseException)
    assert answered.results[0].label == "positive"


async def test_ready_is_what_triton_says(target: Target, fake_triton: FakeTriton) -> None:
    assert await target.is_ready(soon_s())
    fake_triton.ready = False
    assert not await target.is_ready(soon_s())
    fake_triton.ready_delay_s = 5.0
    started_s = time.monotonic()
    assert not await target.is_ready(started_s + 0.1)
    assert time.monotonic() - started_s < 0.6


async def test_what_a_full_queue_refuses_is_counted(published: Path) -> None:
    metrics = Metrics()
    stored = Repository(str(published)).scan({})["tiny"].versions[1]
    full = Target(stored, Triton([], metrics), Batching(4, 2, 1), metrics, cohort="stable")
    with pytest.raises(OverloadedError):
        await full.answer(await full.encode(["good", "bad"], soon_s()), soon_s())
    assert metrics.registry.get_sample_value("retort_shed_total", {"reason": "queue"}) == 1
