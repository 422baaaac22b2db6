"""Following a file: errors are counted each time and told once; after a good look they are told anew."""

import asyncio
import logging

import pytest
from prometheus_client import CollectorRegistry, Counter

from gateway.errors import SettingsError
from gateway.follow import follow


async def test_an_error_is_counted_each_time_and_told_when_it_is_new(caplog: pytest.LogCaptureFixture) -> None:
    errors = Counter("errors", "errors", registry=(registry := CollectorRegistry()))
    looks = iter(["broken", "broken", None, "broken"])
    looked = asyncio.Event()

    async def reload() -> None:
        if (problem := next(looks, "end")) == "end":
            looked.set()
            await asyncio.Event().wait()
        if problem:
            raise SettingsError(problem)

    following = asyncio.create_task(follow(reload, 0.001, errors, "the old one stays"))
    with caplog.at_level(logging.ERROR):
        await asyncio.wait_for(looked.wait(), 5)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    assert registry.get_sample_value("errors_total") == 3
    assert [record.message for record in caplog.records] == ["broken; the old one stays"] * 2
