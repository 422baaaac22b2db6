"""Epochs: since when the entries of a scope count. Forgetting a scope is giving it a later one."""

from collections.abc import Mapping
from itertools import product

import orjson

from gateway.cache.scope import Scope, Selection

MAX_REMEMBERED = 4096


class Epochs:
    """The latest epoch of every selection that was ever forgotten. Epochs only grow, so tables merge in any order."""

    def __init__(self) -> None:
        self._table: dict[Selection, int] = {}
        self._of: dict[Scope, int] = {}
        self.latest = 0

    def __len__(self) -> int:
        return len(self._table)

    def of(self, scope: Scope) -> int:
        """Return the epoch that is part of the scope's names: that of the latest selection that covers it."""
        if (epoch := self._of.get(scope)) is None:
            covering = product((None, scope.model), (None, scope.digest), (None, scope.tenant))
            epoch = max(self._table.get(Selection(*parts), 0) for parts in covering)
            if len(self._of) >= MAX_REMEMBERED:
                self._of.clear()
            self._of[scope] = epoch
        return epoch

    def merge(self, table: Mapping[Selection, int]) -> list[Selection]:
        """Take over what is later than what is known; return those selections: their entries must be forgotten."""
        later = {selection: epoch for selection, epoch in table.items() if epoch > self._table.get(selection, 0)}
        if later:
            self._table |= later
            self._of.clear()
            self.latest = max(self.latest, *later.values())
        return list(later)

    def lacking(self, table: Mapping[Selection, int]) -> dict[Selection, int]:
        """Return what another table does not know yet."""
        return {selection: epoch for selection, epoch in self._table.items() if epoch > table.get(selection, 0)}


def encode(selection: Selection) -> bytes:
    """Return the selection as the member of a Redis set."""
    key = None if selection.key is None else selection.key.hex()
    return orjson.dumps([selection.model, selection.digest, selection.tenant, key])


def decode(member: object) -> Selection | None:
    """Return the selection of a member, None when it is anything else."""
    try:
        model, digest, tenant, key = orjson.loads(member)  # type: ignore[arg-type]  # what is no JSON is refused
        if not all(part is None or isinstance(part, str) for part in (model, digest, tenant, key)):
            return None
        return Selection(model, digest, tenant, None if key is None else bytes.fromhex(key))
    except (ValueError, TypeError):
        return None
