"""Where the gateway is, and what cannot be an address."""

import pytest

from loadtests.access import Access


@pytest.mark.parametrize("url", ["http://host", "https://host:1/base", "grpc://127.0.0.1:8081", "grpcs://[::1]"])
def test_addresses(url: str) -> None:
    assert Access(url).parts.hostname


@pytest.mark.parametrize("url", ["", "host:8080", "ftp://host", "http://", "http://host:port", "grpc://host:0"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="--host must be"):
        Access(url)


def test_the_key_is_shown_as_a_bearer_and_only_when_there_is_one() -> None:
    assert Access("http://host", api_key="k").headers == {"authorization": "Bearer k"}
    assert Access("http://host").headers == {}


def test_a_timeout_is_positive() -> None:
    with pytest.raises(ValueError, match="timeout"):
        Access("http://host", timeout_s=0)
