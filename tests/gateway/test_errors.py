"""The error tree: named in its docstring, with a code for programs."""

from collections.abc import Iterator

import pytest

from gateway import errors
from gateway.errors import GatewayError, UnknownModelError


def tree(kind: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    """Every class of the tree."""
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree()))
def test_every_error_is_drawn_and_has_its_own_code(kind: type[GatewayError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    assert "code" in vars(kind)


def test_codes_tell_errors_apart() -> None:
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)


def test_unknown_model_names_the_known_ones() -> None:
    assert str(UnknownModelError("x" * 1000, ["b", "a"])).endswith("known models: a, b")
    assert len(str(UnknownModelError("x" * 1000, ["b", "a"]))) < 200
