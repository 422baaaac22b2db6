"""The index of this process: capped, bounded in scopes and in what waits, and right while it churns."""

import asyncio

import numpy as np

from gateway.cache.index import MAX_QUEUE
from gateway.cache.scope import Scope, Selection
from gateway.cache.score import K
from gateway.cache.store import Query
from gateway.metrics import Metrics
from tests.gateway.cache.stores import SCOPE, addition, entry, fill, key, local_index, nearest, same, vector


async def test_the_least_recently_added_go_and_the_nearest_are_still_found() -> None:
    index = local_index(max_elements=300)
    for start in range(0, 1500, 100):
        await fill(index, SCOPE, *range(start, start + 100))
    assert await index.count(Selection()) == 300
    kept = range(1200, 1500)
    vectors = np.stack([vector(seed) / np.linalg.norm(vector(seed)) for seed in kept])
    right = 0
    for seed in range(2000, 2100):
        (found,) = await index.look_up(SCOPE, [Query(b"", vector(seed))])
        assert len(found.neighbours) == K
        best = kept[int((vectors @ vector(seed)).argmax())]
        right += same(found.neighbours[0].entry, entry(best))
    assert right >= 97


async def test_adding_again_makes_it_new() -> None:
    index = local_index(max_elements=3)
    await fill(index, SCOPE, 1, 2, 3, 1, 4)
    found = (await index.look_up(SCOPE, [Query(b"", vector(1))]))[0].neighbours
    assert {seed for seed in range(6) for neighbour in found if same(neighbour.entry, entry(seed))} == {1, 3, 4}


async def test_only_so_many_scopes_and_the_least_recently_used_goes() -> None:
    index = local_index(max_scopes=2)
    one, two, three = (Scope("m", "d", tenant) for tenant in ("one", "two", "three"))
    await fill(index, one, 1)
    await fill(index, two, 1)
    await nearest(index, one, vector(1))
    await fill(index, three, 1)
    assert [bool(await nearest(index, scope, vector(1))) for scope in (one, two, three)] == [True, False, True]


async def test_adding_never_waits_and_what_does_not_fit_is_counted() -> None:
    metrics = Metrics()
    index = local_index(metrics, max_elements=10_000)
    index.add(SCOPE, [addition(seed) for seed in range(MAX_QUEUE + 7)])
    assert await index.count(Selection()) == 0
    labels = {"tier": "semantic", "reason": "queue_full"}
    assert metrics.registry.get_sample_value("retort_cache_dropped_total", labels) == 7
    await index.settled()
    assert await index.count(Selection()) == MAX_QUEUE


async def test_requests_get_their_turn_while_many_are_added() -> None:
    index = local_index()
    index.add(SCOPE, [addition(seed) for seed in range(500)])
    turns = 0
    while await index.count(Selection()) < 500:
        await asyncio.sleep(0)
        turns += 1
    assert turns > 50


async def test_what_waits_to_be_added_is_forgotten_too() -> None:
    index = local_index()
    index.add(SCOPE, [addition(1), addition(2)])
    await index.forget(Selection(key=key(1)))
    await index.settled()
    assert await index.count(Selection()) == 1
    index.add(SCOPE, [addition(3)])
    await index.forget(Selection(tenant="alice"))
    await index.settled()
    assert await index.count(Selection()) == 0


async def test_a_vector_of_another_width_finds_nothing() -> None:
    index = local_index()
    await fill(index, SCOPE, 1)
    assert await nearest(index, SCOPE, vector(1, width=8)) == []
