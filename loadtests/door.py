"""A door of the gateway: texts in, a reply out. The URL's scheme says over which protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from loadtests.access import Access
from loadtests.http_door import HttpDoor
from loadtests.reply import Reply


class Door(Protocol):
    """One connection of one customer."""

    protocol: str

    def models(self) -> list[str]:
        """The models that answer; raises UnreachableError."""

    def route(self, count: int) -> str:
        """What is called with `count` texts, as statistics name it."""

    def ask(self, texts: Sequence[str], *, bypass_cache: bool = False) -> Reply:
        """Put one question; whatever the server does about it is a reply, never an exception."""

    def close(self) -> None:
        """Close the connection."""


def open_door(access: Access) -> Door:
    """Return a new connection."""
    if access.parts.scheme.startswith("http"):
        return HttpDoor(access)
    from loadtests.grpc_door import GrpcDoor  # HTTP alone needs no tritonclient

    return GrpcDoor(access)


def only_model(access: Access) -> Access:
    """Return the access with the name of the model that answers; ValueError when several do."""
    door = open_door(access)
    try:
        models = door.models()
    finally:
        door.close()
    if len(models) != 1:
        answering = f"{len(models)} models answer ({', '.join(models)})" if models else "no model answers"
        raise ValueError(f"{answering} at {access.url}: say which with --model")
    return replace(access, model=models[0])
