"""What the admin API takes and gives."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.http.schemas import ModelState


class Status(BaseModel):
    """The gateway as it is now; `config` without secrets. `tasks`: of the event loop; at rest always as many."""

    version: str
    ready: bool
    draining: bool
    inflight: int
    tasks: int
    problem: str | None
    models: dict[str, ModelState]
    upstreams: dict[str, str]
    redis: str
    config: dict[str, Any]


class Key(BaseModel):
    """A key without the key; null: no limit, every model."""

    name: str
    tenant: str
    rate: float | None
    burst: int | None
    models: list[str] | None
    may: list[str]


class Keys(BaseModel):
    """The keys that are in force."""

    keys: list[Key]


class Refreshed(BaseModel):
    """What the model repository holds, after a look at it; `problem`: why the look failed and the old state stays."""

    problem: str | None
    models: dict[str, ModelState]


class LogLevel(BaseModel):
    """From which level on the process logs."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["debug", "info", "warning", "error"]
