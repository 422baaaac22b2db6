"""API keys: random strings of callers, known here only by their SHA-256, and followed as their file changes."""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from gateway.caller import OWNER, STRANGER, Caller
from gateway.errors import SettingsError, UnauthenticatedError
from gateway.follow import follow
from gateway.metrics import Metrics
from gateway.security.keys_file import KeysFile

log = logging.getLogger(__name__)


class ApiKeys:
    """Who may call. Empty: everybody, which settings allow only on loopback or when auth is off."""

    def __init__(
        self, callers: Mapping[str, Caller], *, file: KeysFile | None = None, stranger: Caller = OWNER
    ) -> None:
        self._file, self._stranger = file, stranger
        self._take(callers)
        self._content: bytes | None = None
        self._others: ApiKeys | None = None

    @classmethod
    def read(cls, path: Path, setting: str = "RETORT_API_KEYS_FILE", *, options: bool = True) -> "ApiKeys":
        """Read a keys file; SettingsError names what is wrong with it."""
        file = KeysFile(path, setting, options)
        content = file.read()
        keys = cls(file.parse(content), file=file)
        keys._content = content
        return keys

    @classmethod
    def none(cls, host: str) -> "ApiKeys":
        """Return the keys of a gateway without any: on loopback callers may do everything, elsewhere they may call."""
        return cls({}, stranger=OWNER if is_loopback(host) else STRANGER)

    def __bool__(self) -> bool:
        return bool(self._callers)

    @property
    def digests(self) -> frozenset[str]:
        """The SHA-256 of every key."""
        return frozenset(self._callers)

    @property
    def callers(self) -> list[Caller]:
        """The owner of every key, by name; one who changes keys has two for a while."""
        return sorted((caller for _, caller in self._callers.values()), key=lambda caller: caller.name)

    def keep_apart(self, others: "ApiKeys") -> None:
        """Raise SettingsError when a key is in both files, now or when this one is read anew."""
        self._others = others
        self._check_apart(self._callers)

    def caller(self, authorization: bytes | None) -> Caller:
        """Return the owner of the key in `Authorization: Bearer <key>`; raises UnauthenticatedError."""
        if not self._callers:
            return self._stranger
        if not authorization:
            raise UnauthenticatedError("an API key is needed: send the header `Authorization: Bearer <key>`")
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise UnauthenticatedError("the Authorization header must be `Bearer <key>`")
        presented = hashlib.sha256(key.strip()).hexdigest()
        # How long the dict looks may depend on what its digests have in common with this one. That leads nobody to a
        # key: whoever guesses cannot choose digests, and from a digest there is no way back to a random key. (To
        # compare with every key took 12 ms where there were 16,000.)
        digest, found = self._callers.get(presented, ("", None))
        if found is None or not hmac.compare_digest(digest, presented):
            raise UnauthenticatedError("the API key is not known")
        return found

    async def reload(self) -> None:
        """Take the file as it is now; when it is broken raise SettingsError and keep the keys that are in force."""
        if self._file is None:
            return
        content = await asyncio.to_thread(self._file.read)
        if content != self._content:
            callers = self._file.parse(content)
            self._check_apart(callers)
            self._take(callers)
            self._content = content
            log.info("%d keys are in force, read from %s", len(self._callers), self._file.path)

    async def watch(self, every_s: float, metrics: Metrics) -> None:
        """Reload for ever. The content is compared, so that it does not matter how the file is replaced."""
        await follow(self.reload, every_s, metrics.keys_errors, "the keys that were in force stay")

    def _take(self, callers: Mapping[str, Caller]) -> None:
        self._callers = {digest: (digest, caller) for digest, caller in callers.items()}

    def _check_apart(self, digests: Iterable[str]) -> None:
        if self._others is not None and not self._others.digests.isdisjoint(digests):
            raise SettingsError(
                "a key is in RETORT_ADMIN_KEY_FILE and in RETORT_API_KEYS_FILE: administrators need their own"
            )


def refuse_open_bind(host: str, keys: ApiKeys, *, auth: bool) -> None:
    """Raise SettingsError when the world could call without a key and nobody said that this is meant; else log it."""
    if keys or is_loopback(host):
        return
    if not auth:
        log.warning("whoever reaches RETORT_HOST %s may call without a key: RETORT_AUTH is off", host)
        return
    raise SettingsError(
        f"RETORT_HOST {host} is reachable from other machines and there are no API keys: "
        "set RETORT_API_KEYS_FILE, or RETORT_AUTH=off if that is meant"
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
