"""The gateway's settings: the only file that reads the environment."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gateway.errors import SettingsError

PREFIX = "RETORT_"
SECRET = re.compile(r"://[^/]*@")
ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
# Settings of the product's other parts, which may be in the same environment: the model server's, the command line's.
OTHERS = frozenset(
    {
        *("INSTANCES", "LOADER_GRACE_S", "LOADER_POLL_S", "LOADER_PORT", "TARGET", "THREADS", "TRITON_API_KEY"),
        *("TRITON_GRPC_PORT", "TRITON_HOME", "TRITON_HOST", "TRITON_HTTP_PORT", "TRITON_METRICS_PORT"),
        *("TRITON_TENSORRT", "API_KEY", "BENCH_NOOP_PORT", "CACHE"),
    }
)


class Settings(BaseModel):
    """Everything that an operator may set; names in the environment are RETORT_ + the upper-case field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_repository: str = Field("model-repo", description="folder or fsspec URL")
    default_model: str | None = Field(None, description="the model behind /predict")
    triton_urls: str = Field("127.0.0.1:8001", description="host:port of Triton's gRPC, comma-separated")
    host: str = Field("127.0.0.1", description="address to listen on")
    http_port: int = Field(8080, ge=0, le=65535)
    grpc_port: int = Field(8081, ge=0, le=65535)
    admin_port: int = Field(8082, ge=0, le=65535, description="listens only with RETORT_ADMIN_KEY_FILE")
    metrics_port: int = Field(9091, ge=0, le=65535)
    auth: Literal["on", "off"] = "on"
    api_keys_file: Path | None = Field(
        None, description="lines `<sha256 hex of the key> <name> [options]`; see the README"
    )
    admin_key_file: Path | None = Field(None, description="lines `<sha256 hex of the key> <name>`; unset: no admin API")
    tls_cert_file: Path | None = Field(None, description="PEM, for HTTP, gRPC and admin; with RETORT_TLS_KEY_FILE")
    tls_key_file: Path | None = Field(None, description="PEM, not encrypted")
    redis_url: str | None = Field(None, description="redis://, rediss:// or unix://; shares rate limits")
    workers: int = Field(1, ge=1, le=16, description="processes that serve the same ports; more: take more pods")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    otlp_endpoint: str | None = Field(
        None, description="collector for traces, http(s)://host:4318; no path = /v1/traces; unset: no tracing"
    )
    gateway_poll_s: float = Field(5.0, gt=0, description="between looks at the model repository")
    gateway_probe_s: float = Field(2.0, gt=0, description="between looks at Triton")
    gateway_secrets_poll_s: float = Field(2.0, gt=0, description="between looks at keys and certificate")
    gateway_hold_s: float = Field(
        0.0, ge=0, description="how long a call waits, within its deadline, while no Triton answers; 0: 503 at once"
    )
    gateway_drain_s: float = Field(2.0, ge=0, description="from failing /readyz to closing, on SIGTERM")
    gateway_shutdown_s: int = Field(20, ge=1, description="for requests in flight to end, on closing")
    gateway_deadline_ms: int = Field(10_000, ge=1, description="for callers that send no x-deadline-ms")
    gateway_max_deadline_ms: int = Field(60_000, ge=1)
    gateway_head_timeout_s: float = Field(10.0, gt=0, description="for a TLS handshake; for a request's headers")
    gateway_max_head_bytes: int = Field(32_768, ge=1024, description="of a request's headers")
    gateway_max_connections: int = Field(4096, ge=1, description="HTTP connections at once, per worker; more get 503")
    gateway_max_body_bytes: int = Field(1 << 20, ge=1)
    gateway_max_texts: int = Field(256, ge=1, description="texts of one call")
    # More than 8,192 tokens, which few encoders read, hardly use; all of a text is tokenized before it is cut.
    gateway_max_text_chars: int = Field(40_000, ge=1, description="characters of one text, or of both of a pair")
    gateway_max_inflight: int = Field(1024, ge=1, description="requests inside at once, all workers; more get 429")
    gateway_max_queue_rows: int = Field(2048, ge=1, description="rows that wait for a batch, per target, worker")
    gateway_batch_rows: int = Field(16, ge=1)
    gateway_batches_in_flight: int = Field(3, ge=1)
    gateway_log_text_share: float = Field(
        0.0, ge=0, le=1, description="of calls whose text is logged, cut to 80 characters"
    )
    gateway_trace_share: float = Field(1.0, ge=0, le=1, description="of calls without `traceparent`; a caller decides")

    @field_validator(
        "default_model", "api_keys_file", "admin_key_file", "tls_cert_file", "tls_key_file", "redis_url", mode="before"
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None

    @field_validator("otlp_endpoint")
    @classmethod
    def _with_path(cls, url: str | None) -> str | None:
        if not url:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not a URL like http://collector:4318")
        return url if parts.path.strip("/") else parts._replace(path="/v1/traces").geturl()

    @property
    def upstreams(self) -> list[str]:
        """Triton's addresses."""
        return [url.strip() for url in self.triton_urls.split(",") if url.strip()]

    @property
    def grpc_address(self) -> str:
        """Where the gRPC door listens."""
        return f"[{self.host}]:{self.grpc_port}" if ":" in self.host else f"{self.host}:{self.grpc_port}"

    def shown(self) -> dict[str, Any]:
        """Return every setting by its name, for people: passwords in addresses are stars."""
        return {
            PREFIX + field.upper(): SECRET.sub("://***@", value) if isinstance(value, str) else value
            for field, value in self.model_dump(mode="json").items()
        }


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the environment; SettingsError names the variable that is wrong or that nobody knows."""
    names = os.environ if environment is None else environment
    own = set(Settings.model_fields)
    for name in sorted(name for name in names if name.startswith(PREFIX)):
        key = name.removeprefix(PREFIX)
        if key.lower() in own or key in OTHERS:
            continue
        near = difflib.get_close_matches(key, [*(field.upper() for field in own), *OTHERS], n=1, cutoff=0.85)
        hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
        raise SettingsError(f"{name} is not a setting of Retort{hint}")
    try:
        settings = Settings.model_validate(
            {field: names[PREFIX + field.upper()] for field in own if PREFIX + field.upper() in names}
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{PREFIX}{str(first['loc'][0]).upper()}: {first['msg']}") from error
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Raise SettingsError for an address that is none, and for settings that contradict each other."""
    if not settings.upstreams:
        raise SettingsError(f"{PREFIX}TRITON_URLS names no address; expected host:port[,host:port]")
    if (settings.tls_cert_file is None) != (settings.tls_key_file is None):
        missing = "CERT" if settings.tls_cert_file is None else "KEY"
        raise SettingsError(f"{PREFIX}TLS_{missing}_FILE is not set: TLS needs the certificate and its key")
    if settings.auth == "off" and settings.api_keys_file is not None:
        raise SettingsError(f"{PREFIX}AUTH=off and {PREFIX}API_KEYS_FILE contradict each other: unset one of them")
    if settings.gateway_max_inflight < settings.workers:
        raise SettingsError(
            f"{PREFIX}GATEWAY_MAX_INFLIGHT {settings.gateway_max_inflight} is less than one request "
            f"for each of RETORT_WORKERS {settings.workers}"
        )
    if settings.gateway_max_queue_rows < settings.gateway_max_texts:
        raise SettingsError(
            f"{PREFIX}GATEWAY_MAX_QUEUE_ROWS {settings.gateway_max_queue_rows} is less than one call's "
            f"{PREFIX}GATEWAY_MAX_TEXTS {settings.gateway_max_texts}: such a call would never be answered"
        )
    if settings.gateway_deadline_ms > settings.gateway_max_deadline_ms:
        raise SettingsError(
            f"{PREFIX}GATEWAY_DEADLINE_MS {settings.gateway_deadline_ms} is more than "
            f"{PREFIX}GATEWAY_MAX_DEADLINE_MS {settings.gateway_max_deadline_ms}"
        )
    for url in settings.upstreams:
        found = ADDRESS.fullmatch(url)
        if found is None or not 0 < int(found[1]) <= 65535:
            raise SettingsError(f"{PREFIX}TRITON_URLS: {url!r} is not host:port, like triton:8001 or [::1]:8001")
