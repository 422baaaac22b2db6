"""Access: where the gateway is, how to come in, and what to ask it for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit

Api = Literal["predict", "oip"]
SCHEMES = ("http", "https", "grpc", "grpcs")


class UnreachableError(Exception):
    """The gateway does not say which models answer, and why."""


@dataclass(frozen=True)
class Access:
    """`model` "": the default one, where the protocol knows such a thing; `ca`: PEM file of who signed the server."""

    url: str
    api_key: str = ""
    model: str = ""
    api: Api = "predict"
    ca: Path | None = None
    timeout_s: float = 10.0

    def __post_init__(self) -> None:
        try:
            usable = self.parts.scheme in SCHEMES and self.parts.hostname and self.parts.port != 0
        except ValueError:  # a port that is no number
            usable = False
        if not usable:
            raise ValueError(f"--host must be an address after {'://, '.join(SCHEMES)}://, not {self.url!r}")
        if not self.timeout_s > 0:
            raise ValueError("--timeout-s must be more than 0")

    @property
    def parts(self) -> SplitResult:
        """The URL, taken apart."""
        return urlsplit(self.url)

    @property
    def headers(self) -> dict[str, str]:
        """What every call shows, over either protocol."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}
