"""The HTTP door's connection. What it sends and reads the Locust file's tests show."""

import time
from contextlib import closing

from loadtests.access import Access
from loadtests.http_door import HttpDoor
from tests.loadtests.fake_gateway import KEY, Gateway, http


def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    with http(Gateway(idle_s=0.2)) as url, closing(HttpDoor(Access(url, api_key=KEY))) as door:
        assert door.ask(["one"]).outcome == "answered"
        time.sleep(0.5)
        assert door.ask(["two"]).outcome == "answered"


def test_after_a_timeout_the_late_answer_is_not_taken_for_the_next_one() -> None:
    gateway = Gateway(takes_s=0.4, labels=("even", "odd"))
    with http(gateway) as url, closing(HttpDoor(Access(url, api_key=KEY, timeout_s=0.2))) as door:
        late = door.ask(["four"])
        assert (late.outcome, late.problem) == ("failed", "not answered in time")
        gateway.takes_s = 0
        time.sleep(0.4)
        assert door.ask(["three"]).labels == ["odd"]
