"""API keys: random strings of callers, known here only by their SHA-256."""

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path

from gateway.errors import SettingsError, UnauthenticatedError

LINE = re.compile(rb"([0-9a-f]{64})\s+(\S+)")


class ApiKeys:
    """Who may call. Empty: everybody, which settings allow only on loopback or when auth is off."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = {digest.encode(): name for digest, name in names.items()}

    @classmethod
    def read(cls, path: Path) -> "ApiKeys":
        """Read lines `<sha256 hex of the key> <name>`; empty lines and `#` comments are skipped."""
        names = {}
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise SettingsError(f"RETORT_API_KEYS_FILE {path} cannot be read: {error.strerror}") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith(b"#"):
                continue
            if (match := LINE.fullmatch(line.strip())) is None:
                # The line itself may be a key in the clear: it is not repeated here.
                raise SettingsError(f"{path}, line {number}: expected `<sha256 hex of the key> <name>`")
            names[match[1].decode()] = match[2].decode(errors="replace")
        if not names:
            raise SettingsError(f"RETORT_API_KEYS_FILE {path} holds no key")
        return cls(names)

    def __bool__(self) -> bool:
        return bool(self._names)

    def caller(self, authorization: bytes | None) -> str:
        """Return the name of the key in `Authorization: Bearer <key>`; raises UnauthenticatedError."""
        if not authorization:
            raise UnauthenticatedError("an API key is needed: send the header `Authorization: Bearer <key>`")
        scheme, _, key = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise UnauthenticatedError("the Authorization header must be `Bearer <key>`")
        presented = hashlib.sha256(key.strip()).hexdigest().encode()
        found = None
        for digest, name in self._names.items():  # every key is compared, so time tells nothing
            if hmac.compare_digest(digest, presented):
                found = name
        if found is None:
            raise UnauthenticatedError("the API key is not known")
        return found


def refuse_open_bind(host: str, keys: ApiKeys, *, auth: bool) -> None:
    """Raise SettingsError when the world could call without a key and nobody said that this is meant."""
    if keys or not auth or is_loopback(host):
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
