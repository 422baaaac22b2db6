"""A scope: whose entries may answer whom. Version and tenant are part of every place, so none can read another's."""

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Scope:
    """The entries of one version (its digest is its identity) for one tenant."""

    model: str
    digest: str
    tenant: str

    @cached_property
    def name(self) -> bytes:
        """Different for different scopes, whatever their parts hold."""
        return f"{len(self.digest)}:{self.digest}:{len(self.tenant)}:{self.tenant}:".encode()

    def place(self, key: bytes) -> bytes:
        """Return the name of one text's entry: what its checksum is bound to."""
        return self.name + key


@dataclass(frozen=True, slots=True)
class Selection:
    """Entries to count or to forget: those that agree in everything that is not None. Empty: all of them."""

    model: str | None = None
    digest: str | None = None
    tenant: str | None = None
    key: bytes | None = None

    def covers(self, scope: Scope) -> bool:
        """Whether entries of the scope can be among them."""
        return (
            (self.model is None or self.model == scope.model)
            and (self.digest is None or self.digest == scope.digest)
            and (self.tenant is None or self.tenant == scope.tenant)
        )
