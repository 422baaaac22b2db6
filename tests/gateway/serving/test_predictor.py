"""The predictor: who answers, what it writes into the call, and how many texts it takes."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gateway.call import Call
from gateway.caller import NOBODY, OWNER, Caller
from gateway.errors import ForbiddenError, InvalidRequestError, OverloadedError, UnknownVersionError
from gateway.metrics import Metrics
from gateway.serving.admission import Admission
from gateway.serving.catalog import Catalog
from gateway.serving.predictor import Predictor
from gateway.serving.repository import Repository
from gateway.serving.target import Batching, RawOptions, Target
from gateway.upstream.triton import Triton
from tests.gateway.fake_triton import FakeTriton
from tests.gateway.serving.test_batcher import soon_s
from tests.tiny_model import publish_tiny

PLAIN = Caller("alice", "acme")


@pytest.fixture
async def catalog(repository: Path, fake_triton: FakeTriton) -> AsyncIterator[Catalog]:
    """The tiny model with a stable and a waiting version."""
    publish_tiny(repository, swapped=True)
    metrics = Metrics()
    triton = Triton([fake_triton.url], metrics)
    await triton.open()
    make = partial(Target, triton=triton, batching=Batching(8, 2, 100), metrics=metrics, cohort="stable")
    catalog = Catalog(Repository(str(repository)), make, metrics, None)
    await catalog.refresh()
    yield catalog
    await triton.close()


def call(caller: Caller = PLAIN) -> Call:
    """A call with time."""
    made = Call("r1", {})
    made.caller = caller
    made.deadline_s = soon_s()
    return made


async def test_the_call_knows_what_became_of_it(catalog: Catalog) -> None:
    asked = call()
    answer = await Predictor(catalog, Admission(9, Metrics()), max_texts=3).predict(asked, None, ["good"])
    assert answer.predictions[0].label == "positive"
    assert (asked.model, asked.version, asked.cohort, asked.cache) == ("tiny", "1", "stable", "bypass")
    assert list(asked.steps_s) == ["tokenize", "queue", "triton"]


async def test_limits(catalog: Catalog) -> None:
    with pytest.raises(InvalidRequestError, match="4 texts are more than the 3"):
        await Predictor(catalog, Admission(9, Metrics()), max_texts=3).predict(call(), None, ["a"] * 4)
    short = Predictor(catalog, Admission(9, Metrics()), max_texts=3, max_text_chars=8)
    assert (await short.predict(call(), None, ["good bad"])).predictions
    for long in ("good film", ("good", "film!")):
        with pytest.raises(InvalidRequestError, match="a text of 9 characters is longer than the 8 of one"):
            await short.predict(call(), None, ["good", long])
    with pytest.raises(OverloadedError):
        await Predictor(catalog, Admission(0, Metrics()), max_texts=3).predict(call(), None, ["a"])
    with pytest.raises(OverloadedError):
        await Predictor(catalog, Admission(0, Metrics()), max_texts=3).compute(call(), "tiny", {}, None, RawOptions())


async def test_only_the_routed_version_may_be_asked_for(catalog: Catalog) -> None:
    predictor = Predictor(catalog, Admission(9, Metrics()), max_texts=3)
    assert (await predictor.predict(call(), "tiny", ["good"], 1)).target.version == "1"
    with pytest.raises(ForbiddenError, match="version 2 of model 'tiny', not the one that answers, needs"):
        await predictor.predict(call(), "tiny", ["good"], 2)
    with pytest.raises(UnknownVersionError, match="no verified version 3; known: 1, 2"):
        await predictor.predict(call(), "tiny", ["good"], 3)


async def test_a_caller_with_the_permission_chooses_the_version(catalog: Catalog, fake_triton: FakeTriton) -> None:
    predictor = Predictor(catalog, Admission(9, Metrics()), max_texts=3)
    asked = call(OWNER)
    asked.route_version = 2
    answer = await predictor.predict(asked, None, ["good"])
    assert (asked.version, asked.cohort, fake_triton.requests[-1].model_version) == ("2", "override", "2")
    assert (await predictor.predict(call(OWNER), "tiny", ["good"], 2)).target is answer.target
    asked = call(OWNER)
    asked.route_version = 1
    assert (await predictor.predict(asked, "tiny", ["good"])).target.cohort == "stable"
    with pytest.raises(InvalidRequestError, match="names version 2, its x-route-version 1"):
        await predictor.predict(asked, "tiny", ["good"], 2)
    asked.route_version = 3
    with pytest.raises(UnknownVersionError, match="no verified version 3; known: 1, 2"):
        await predictor.predict(asked, "tiny", ["good"])


async def test_a_model_that_the_key_does_not_open(catalog: Catalog) -> None:
    predictor = Predictor(catalog, Admission(9, Metrics()), max_texts=3)
    for model in (None, "tiny", "unknown"):
        with pytest.raises(ForbiddenError, match="its models: other"):
            await predictor.predict(call(Caller("alice", "a", models=frozenset({"other"}))), model, ["good"])
    with pytest.raises(ForbiddenError):
        await predictor.compute(call(NOBODY), "tiny", {}, None, RawOptions())


async def test_tensors(catalog: Catalog) -> None:
    asked = call()
    ids = np.full((1, 2), 11, dtype=np.int64)
    predictor = Predictor(catalog, Admission(9, Metrics()), max_texts=3)
    inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    answer = await predictor.compute(asked, "tiny", inputs, None, RawOptions())
    assert answer.outputs[0].elements() == [0, 4]
    assert (asked.version, list(asked.steps_s)) == ("1", ["triton"])
