"""The contract of a Store, the same cases in process, in a real Redis 8 and in a real Redis 7."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gateway.cache.scope import Scope, Selection
from gateway.cache.score import K
from gateway.cache.store import NOTHING, Addition, Query, Store, has_direction
from tests.gateway.cache.stores import SCOPE, entry, fill, key, local_index, nearest, redis_store, same, vector
from tests.gateway.redis_server import MISSING_7, MISSING_8, SERVER_7, SERVER_8, redis_server
from tests.ports import free_ports

PLACES = [
    "process",
    pytest.param("redis7", marks=pytest.mark.skipif(SERVER_7 is None, reason=MISSING_7)),
    pytest.param("redis8", marks=pytest.mark.skipif(SERVER_8 is None, reason=MISSING_8)),
]
OTHERS = [
    Scope("tiny", SCOPE.digest, "bob"),
    Scope("tiny", "sha256:" + "b" * 64, "alice"),
    Scope("tiny", SCOPE.digest, ""),
    Scope("tiny", SCOPE.digest, "alice:1"),
]


@pytest.fixture(params=PLACES)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """An empty store for a thousand neighbours a scope."""
    monkeypatch.setattr("gateway.cache.redis_store.TIMEOUT_S", 2.0)  # these cases are not about a busy machine
    if request.param == "process":
        yield local_index()
        return
    (port,) = free_ports(1)
    binary = SERVER_8 if request.param == "redis8" else SERVER_7
    with redis_server(tmp_path, port, binary=binary):
        async with redis_store(port) as watched:
            yield watched.store


async def test_an_empty_store_finds_nothing(store: Store) -> None:
    assert await store.look_up(SCOPE, [Query(key(1), vector(1)), Query(key(2))]) == [NOTHING, NOTHING]
    assert await store.count(Selection()) == 0


async def test_the_nearest_come_first_and_carry_everything_that_inference_answered(store: Store) -> None:
    await fill(store, SCOPE, *range(30))
    wanted = vector(7) + 0.1 * vector(100)
    (found,) = await store.look_up(SCOPE, [Query(key(99), wanted)])
    assert len(found.neighbours) == K
    similarities = [neighbour.similarity for neighbour in found.neighbours]
    assert similarities == sorted(similarities, reverse=True)
    assert same(found.neighbours[0].entry, entry(7))
    for neighbour in found.neighbours:
        seed = next(seed for seed in range(30) if same(neighbour.entry, entry(seed)))
        cosine = np.dot(vector(seed), wanted) / np.linalg.norm(vector(seed)) / np.linalg.norm(wanted)
        assert neighbour.similarity == pytest.approx(cosine, abs=0.01)


async def test_fewer_than_eight_are_fewer(store: Store) -> None:
    await fill(store, SCOPE, 1, 2, 3)
    assert len(await nearest(store, SCOPE, vector(1))) == 3


@pytest.mark.parametrize("store", PLACES[1:], indirect=True)  # those of this process are in the exact tier
async def test_exact_entries_are_found_by_their_key_with_or_without_vectors(store: Store) -> None:
    store.add(SCOPE, [Addition(key(1), entry(1), vector(1)), Addition(key(2), entry(2))])
    await store.settled()
    first, second, third = await store.look_up(SCOPE, [Query(key(1)), Query(key(2), vector(2)), Query(key(3))])
    assert same(first.exact, entry(1))
    assert same(second.exact, entry(2))
    assert [neighbour.entry for neighbour in second.neighbours] == [entry(1)]
    assert third == NOTHING


async def test_a_call_with_many_texts_is_answered_item_by_item(store: Store) -> None:
    await fill(store, SCOPE, *range(40))
    queries = [Query(key(seed), vector(seed)) for seed in (5, 3, 9)] + [Query(key(1))]
    found = await store.look_up(SCOPE, queries)
    assert [same(one.neighbours[0].entry, entry(seed)) for one, seed in zip(found, (5, 3, 9), strict=False)] == [
        True
    ] * 3
    assert found[3].neighbours == ()


@pytest.mark.parametrize("other", OTHERS, ids=lambda scope: f"{scope.digest[7]}-{scope.tenant}")
async def test_no_other_version_or_tenant_is_ever_answered(store: Store, other: Scope) -> None:
    await fill(store, SCOPE, *range(10))
    assert await store.look_up(other, [Query(key(1), vector(1))]) == [NOTHING]
    await fill(store, other, 50)
    assert [label for label, _ in await nearest(store, other, vector(1))] == [entry(50).label]


async def test_adding_again_replaces(store: Store) -> None:
    await fill(store, SCOPE, 1)
    store.add(SCOPE, [Addition(key(1), entry(2), vector(1))])
    await store.settled()
    (found,) = await store.look_up(SCOPE, [Query(key(1), vector(1))])
    assert [neighbour.entry for neighbour in found.neighbours] == [entry(2)]
    assert found.exact in (None, entry(2))


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (Selection(), set()),
        (Selection(model="tiny"), set()),
        (Selection(model="other"), {"alice", "bob", "new"}),
        (Selection(digest=SCOPE.digest), {"new"}),
        (Selection(tenant="alice"), {"bob"}),
        (Selection(digest=SCOPE.digest, tenant="bob"), {"alice", "new"}),
        (Selection("tiny", SCOPE.digest, "alice"), {"bob", "new"}),
    ],
)
async def test_forgetting_scopes(store: Store, selection: Selection, left: set[str]) -> None:
    scopes = {"alice": SCOPE, "bob": OTHERS[0], "new": OTHERS[1]}
    for scope in scopes.values():
        await fill(store, scope, 1, 2, 3)
    assert await store.count(selection) == 3 * (3 - len(left))
    assert await store.forget(selection)
    for name, scope in scopes.items():
        (found,) = await store.look_up(scope, [Query(key(1), vector(1))])
        assert (found != NOTHING) == (name in left)
    assert await store.count(selection) == 0
    await fill(store, SCOPE, 9)  # what comes afterwards is kept
    assert await nearest(store, SCOPE, vector(9))


@pytest.mark.parametrize("selection", [Selection("tiny", SCOPE.digest, "alice", key(2)), Selection(key=key(2))])
async def test_forgetting_one_text(store: Store, selection: Selection) -> None:
    await fill(store, SCOPE, 1, 2, 3)
    assert await store.count(selection) == 1
    assert await store.forget(selection)
    gone, stays = await store.look_up(SCOPE, [Query(key(2), vector(2)), Query(key(1), vector(1))])
    assert gone.exact is None
    assert not any(same(neighbour.entry, entry(2)) for neighbour in gone.neighbours)
    assert len(stays.neighbours) == 2


async def test_vectors_without_a_direction_are_neither_kept_nor_searched(store: Store) -> None:
    zero, nan = np.zeros(32, np.float32), np.full(32, np.nan, np.float32)
    store.add(SCOPE, [Addition(key(1), entry(1), zero), Addition(key(2), entry(2), nan)])
    await store.settled()
    await fill(store, SCOPE, 3)
    assert [label for label, _ in await nearest(store, SCOPE, vector(1))] == [entry(3).label]
    assert await nearest(store, SCOPE, zero) == await nearest(store, SCOPE, nan) == []
    assert has_direction(vector(1))


async def test_the_cap_holds_and_the_newest_are_among_those_kept(store: Store) -> None:
    await fill(store, SCOPE, *range(500))
    await fill(store, SCOPE, *range(500, 1000))
    await fill(store, SCOPE, *range(1000, 1400))
    count = await store.count(Selection())
    assert count is not None
    assert 950 <= count <= 1000
    kept = [seed for seed in range(1400) if (await nearest(store, SCOPE, vector(seed)))[0][1] > 0.99]
    assert len(kept) == pytest.approx(count, abs=25)  # nearly each of them is found, none of the others
    assert any(seed >= 1380 for seed in kept)
