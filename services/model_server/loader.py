"""The loader: decides what Triton has loaded. Stable first, the candidate after; a bad candidate costs stable nothing.

`python -m model_server.loader` runs it alone, beside a Triton that somebody else started (NVIDIA's image).
"""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_server import logs, machine, settings
from model_server.control import Control
from model_server.errors import LoadError, ModelServerError, RejectedError, UnreachableError
from model_server.metrics import Metrics
from model_server.repository import Found, Model, scan
from model_server.settings import Settings
from model_server.status import serving
from model_server.triton_config import Share, load_config

log = logging.getLogger(__name__)

FIRST_RETRY_S = 5.0
LAST_RETRY_S = 300.0
FIRST_LOOK_S = 0.1


@dataclass
class Failure:
    """A version that Triton refused to load, and when it may be tried again."""

    reason: str
    attempts: int = 1
    retry_at_s: float = 0.0


@dataclass
class Loaded:
    """What Triton was last asked to hold of a model: version -> digest, and stable versions that may soon go."""

    versions: dict[int, str] = field(default_factory=dict)
    config: str = ""
    stable: int | None = None
    leaving_at_s: dict[int, float] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    ready: bool = False  # the version that stable.json names answers
    answering: int | None = None  # the last version that was stable and answered, while it does
    tried: bool = False


class Loader:
    """Keeps Triton at what the repository says; `step` is one look, restartable at any moment."""

    def __init__(self, root: Path, target: str, share: Share, grace_s: float, metrics: Metrics) -> None:
        self._root, self._target, self._share, self._grace_s = root, target, share, grace_s
        self._metrics = metrics
        self._models: Mapping[str, Model] = {}
        self._loaded: dict[str, Loaded] = {}
        self._triton_up = False
        self._trouble = ""

    async def run(self, control: Control, poll_s: float) -> None:
        """Look, act, wait, for ever."""
        trouble, wait_s = "", FIRST_LOOK_S
        while True:
            try:
                await self.step(control)
                trouble = ""
            except UnreachableError as error:
                if str(error) != trouble:
                    log.error("%s", error)
                trouble = str(error)
                self._triton_up = False
                for loaded in self._loaded.values():
                    loaded.ready = False
            self._measure()
            # Look often at first: the first answer should not wait for a poll. What stays broken is not hurried.
            wait_s = poll_s if self.is_ready else min(poll_s, wait_s)
            await asyncio.sleep(wait_s)
            wait_s = FIRST_LOOK_S if self.is_ready else wait_s * 1.1

    @property
    def is_ready(self) -> bool:
        """Whether every model has been tried and one answers at least.

        A pod is taken out of service as a whole: one model that does not load must not take the others with it, and a
        model whose newest choice is broken goes on answering from its last good version.
        """
        known = [self._loaded[name] for name in self._models]
        return self._triton_up and all(loaded.tried for loaded in known) and any(loaded.answering for loaded in known)

    async def step(self, control: Control) -> None:
        """Look at the repository and at Triton once, and mend the difference."""
        models = await asyncio.to_thread(self._look)
        if not await control.is_live():
            raise UnreachableError("Triton is not live")
        self._triton_up = True
        self._announce(models)
        self._models = models
        for name, model in models.items():
            loaded = self._loaded.setdefault(name, Loaded())
            if model.stable is not None:
                await self._reconcile(control, model, model.stable, loaded)
            if loaded.answering is not None and not await control.is_ready(name, loaded.answering):
                loaded.answering = None
            loaded.tried = True
        for name in self._loaded.keys() - models.keys():
            log.warning("model %s is gone from the repository: unloading it", name)
            await control.unload(name)
            del self._loaded[name]

    def _look(self) -> Mapping[str, Model]:
        """Scan the repository; while it cannot be read, everything stays as it was."""
        try:
            models = scan(self._root, self._target, self._models)
        except OSError as error:
            if str(error) != self._trouble:
                log.error("cannot read the model repository %s: %s; what is loaded stays", self._root, error)
            self._trouble = str(error)
            return self._models
        self._trouble = ""
        return models

    async def _reconcile(self, control: Control, model: Model, stable: Found, loaded: Loaded) -> None:
        if loaded.versions and not await control.is_ready(model.name, next(iter(loaded.versions))):
            log.warning("Triton no longer holds model %s (was it restarted?): loading it again", model.name)
            loaded.versions, loaded.leaving_at_s = {}, {}
        self._retire(stable, loaded)
        base = {stable.version: stable.digest} | {v: loaded.versions[v] for v in loaded.leaving_at_s}
        candidate = model.candidate
        wanted = base | ({candidate.version: candidate.digest} if candidate else {})
        wanted = {version: digest for version, digest in wanted.items() if not self._must_wait(digest, loaded)}
        if stable.version in wanted:
            await self._bring(control, model, base, wanted, loaded)
        loaded.ready = await control.is_ready(model.name, stable.version)
        if loaded.ready:
            loaded.answering = stable.version

    async def _bring(
        self, control: Control, model: Model, base: dict[int, str], wanted: dict[int, str], loaded: Loaded
    ) -> None:
        """Have Triton hold `wanted`; `base`, what must answer, comes first and comes back when the rest fails."""
        if not base.items() <= loaded.versions.items() and not await self._load(control, model, base, loaded):
            return
        if loaded.versions == wanted and loaded.config == model.config:
            return
        if not await self._load(control, model, wanted, loaded) and wanted != base:
            await self._load(control, model, base, loaded)

    def _retire(self, stable: Found, loaded: Loaded) -> None:
        """Keep a former stable version for the grace: gateways may route to it until they have read stable.json."""
        now_s = time.monotonic()
        if loaded.stable is not None and loaded.stable != stable.version and loaded.stable in loaded.versions:
            loaded.leaving_at_s[loaded.stable] = now_s + self._grace_s
        loaded.stable = stable.version
        loaded.leaving_at_s = {
            version: at_s
            for version, at_s in loaded.leaving_at_s.items()
            if at_s > now_s and version != stable.version and version in loaded.versions
        }

    def _must_wait(self, digest: str, loaded: Loaded) -> bool:
        failure = loaded.failures.get(digest)
        return failure is not None and time.monotonic() < failure.retry_at_s

    async def _load(self, control: Control, model: Model, versions: Mapping[int, str], loaded: Loaded) -> bool:
        """Have Triton hold exactly `versions`; on failure blame what is new among them."""
        named = ", ".join(map(str, sorted(versions)))
        try:
            config = load_config(model.name, model.config, sorted(versions), self._share)
            await control.load(model.name, config)
        except (LoadError, RejectedError) as error:
            self._metrics.loads.labels(model.name, "failed").inc()
            new = {version: digest for version, digest in versions.items() if loaded.versions.get(version) != digest}
            for version, digest in (new or versions).items():
                before = loaded.failures.get(digest)
                attempts = before.attempts + 1 if before else 1
                wait_s = min(FIRST_RETRY_S * 2 ** (attempts - 1), LAST_RETRY_S)
                loaded.failures[digest] = Failure(str(error), attempts, time.monotonic() + wait_s)
                log.error("model %s version %d does not load: %s", model.name, version, error)
            return False
        self._metrics.loads.labels(model.name, "loaded").inc()
        loaded.versions, loaded.config = dict(versions), model.config
        for digest in versions.values():
            loaded.failures.pop(digest, None)
        log.info("model %s: loaded version %s (stable: %s)", model.name, named, model.stable and model.stable.version)
        return True

    def _announce(self, models: Mapping[str, Model]) -> None:
        """Log what changed since the last look."""
        for name, model in models.items():
            before = self._models.get(name)
            known = before.rejected if before else {}
            for version, reason in model.rejected.items():
                if known.get(version) != reason:
                    log.error("model %s version %d is rejected: %s", name, version, reason)
            changed = model.config_changed_since
            if changed and (before is None or before.config_changed_since != changed):
                log.warning(
                    "model %s: config.pbtxt is not the one that version %s was published with",
                    name,
                    ", ".join(map(str, changed)),
                )
            if model.problem and (before is None or before.problem != model.problem):
                log.error("model %s: %s; what is loaded stays", name, model.problem)

    def _measure(self) -> None:
        self._metrics.triton_up.set(self._triton_up)
        self._metrics.ready.set(self.is_ready)
        self._metrics.versions.clear()
        for name, model in self._models.items():
            for version in model.rejected:
                self._metrics.versions.labels(name, version, "rejected").set(1)
            for version in self._loaded[name].versions:
                self._metrics.versions.labels(name, version, "loaded").set(1)
            for version, _ in self._failed(name):
                self._metrics.versions.labels(name, version, "failed").set(1)

    def _failed(self, name: str) -> list[tuple[int, str]]:
        failures, loaded = self._loaded[name].failures, self._loaded[name].versions
        return [
            (found.version, failures[found.digest].reason)
            for found in self._models[name].versions.values()
            if found.digest in failures and found.version not in loaded
        ]

    def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether every stable version answers, and the detail; called from the door's threads."""
        return self.is_ready, {
            "triton_up": self._triton_up,
            "models": {
                name: {
                    "stable": model.stable.version if model.stable else None,
                    "ready": self._loaded[name].ready,
                    "answering": self._loaded[name].answering,
                    "loaded": sorted(self._loaded[name].versions),
                    "rejected": model.rejected,
                    "failed": dict(self._failed(name)),
                    "problem": model.problem,
                }
                for name, model in dict(self._models).items()
                if name in self._loaded
            },
        }


async def keep_loaded(settings: Settings, key: str | None) -> None:
    """Run a loader with its door, for ever."""
    metrics = Metrics()
    on_cpu = settings.target == "cpu"
    instances, threads = settings.instances or (machine.cores() if on_cpu else 0), settings.threads or int(on_cpu)
    share = Share(instances, threads, settings.triton_tensorrt)
    loader = Loader(settings.model_repository, settings.target, share, settings.loader_grace_s, metrics)
    address = f"{settings.triton_address}:{settings.triton_grpc_port}"
    with serving(settings.triton_host, settings.loader_port, loader.report, metrics.registry):
        async with Control(address, key) as control:
            await loader.run(control, settings.loader_poll_s)


async def alone(chosen: Settings) -> None:
    """Keep a Triton that somebody else started loaded, until SIGTERM or Ctrl-C.

    The handlers are not optional: the kernel ignores both signals for a container's first process without them.
    """
    key = chosen.triton_api_key
    task = asyncio.create_task(keep_loaded(chosen, key.get_secret_value() if key else None))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Run the loader alone."""
    try:
        chosen = settings.load()
        logs.configure(chosen.log_level)
        asyncio.run(alone(chosen))
    except ModelServerError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
