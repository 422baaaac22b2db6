"""What the admin API takes and gives."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gateway.http.schemas import ModelState


class WorkerStatus(BaseModel):
    """One worker process; `tasks`: of its event loop; `problem`: why its last look at the repository failed."""

    worker: int
    pid: int
    ready: bool
    draining: bool
    inflight: int
    tasks: int
    problem: str | None


class Status(BaseModel):
    """The gateway as it is now; `config` without secrets.

    `ready`, `draining`, `inflight`, `tasks` and `problem` are of all workers together, `workers` has them one by one;
    `models`, `upstreams` and `redis` are what the worker sees that answers.
    """

    version: str
    ready: bool
    draining: bool
    inflight: int
    tasks: int
    problem: str | None
    workers: list[WorkerStatus]
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
    """What the model repository holds, after a look at it; `problem`: why the old state stays, or what is missing."""

    problem: str | None
    models: dict[str, ModelState]


class LogLevel(BaseModel):
    """From which level on the process logs."""

    model_config = ConfigDict(extra="forbid")

    level: Literal["debug", "info", "warning", "error"]
