"""A caller: whose key was shown, and what that key may do."""

from dataclasses import dataclass

from gateway.errors import ForbiddenError

ROUTE_VERSION = "route-version"
CACHE_BYPASS = "cache-bypass"
PERMISSIONS = frozenset({ROUTE_VERSION, CACHE_BYPASS})


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests a second in the long run, and so many at once."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a key; `models` None: every model, `rate` None: as many requests as they like."""

    name: str
    tenant: str
    rate: Rate | None = None
    models: frozenset[str] | None = None
    permissions: frozenset[str] = frozenset()

    def may_use(self, model: str) -> bool:
        """Whether the key opens this model."""
        return self.models is None or model in self.models

    def check_model(self, model: str) -> None:
        """Raise ForbiddenError unless the key opens this model."""
        if self.models is not None and model not in self.models:
            allowed = ", ".join(sorted(self.models)) or "none"
            raise ForbiddenError(f"the key {self.name!r} may not use model {model[:64]!r}; its models: {allowed}")

    def check_permission(self, permission: str, what: str) -> None:
        """Raise ForbiddenError unless the key has the permission that `what` needs."""
        if permission not in self.permissions:
            whose = f"the key {self.name!r}" if self.name else "a caller without a key"
            raise ForbiddenError(f"{what} needs the permission {permission}, which {whose} has not")


# What a call has before its door asked who is there: a door that forgets to ask serves nobody.
NOBODY = Caller("", "", models=frozenset())
# Who calls where there are no keys: on loopback it is the person at this machine.
OWNER = Caller("", "", permissions=PERMISSIONS)
STRANGER = Caller("", "", permissions=frozenset({CACHE_BYPASS}))
