"""The cache's names in Redis: the version's digest, the tenant and the epoch are part of every entry's."""

from dataclasses import dataclass
from urllib.parse import quote

import orjson

from gateway.cache.scope import Scope

PREFIX = "retort:cache:"
EPOCHS = PREFIX + "epochs"  # selection -> epoch; no time to live, so never evicted
TEXTS = PREFIX + "texts"  # one text each -> when it was forgotten
SCOPES = PREFIX + "scopes"  # scope -> last addition in ms; only so that its set is found without a scan
CHANNEL = PREFIX + "forgotten"
DIGEST_CHARACTERS = 32  # 128 bits are as good as all, and a name is kept once an entry


@dataclass(frozen=True, slots=True)
class Names:
    """Where the entries of one scope are, since an epoch."""

    exact_prefix: bytes
    vectors: bytes

    @classmethod
    def of(cls, scope: Scope, epoch: int) -> "Names":
        """Return the names; a tenant's own characters cannot forge another's."""
        digest = scope.digest.removeprefix("sha256:")[:DIGEST_CHARACTERS]
        rest = f"{digest}:{quote(scope.tenant, safe='')}:{epoch:x}"
        return cls(f"{PREFIX}x:{rest}:".encode(), f"{PREFIX}v:{rest}".encode())

    def exact(self, key: bytes) -> bytes:
        """Return the name of one text's entry."""
        return self.exact_prefix + key


def encode(scope: Scope) -> bytes:
    """Return the scope as a member of SCOPES."""
    return orjson.dumps([scope.model, scope.digest, scope.tenant])


def decode(member: bytes) -> Scope | None:
    """Return the scope of a member, None when it is anything else."""
    try:
        model, digest, tenant = orjson.loads(member)
    except (ValueError, TypeError):
        return None
    return Scope(model, digest, tenant) if all(isinstance(part, str) for part in (model, digest, tenant)) else None
