"""The catalog: every model of the repository as it is now, kept fresh while the last good state goes on answering."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from gateway.errors import (
    InvalidRequestError,
    ModelUnavailableError,
    RepositoryUnreadableError,
    UnknownModelError,
    UnknownVersionError,
    VersionRejectedError,
)
from gateway.metrics import Metrics
from gateway.serving.overrides import Overrides
from gateway.serving.repository import Repository, StoredModel
from gateway.serving.target import Target

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Model:
    """One model: the target that answers (None: none can), and what the repository says of it."""

    stored: StoredModel
    target: Target | None
    rejected: Mapping[int, str]
    problem: str | None


class Catalog:
    """Chooses targets from an immutable mapping that `refresh` replaces whole."""

    def __init__(
        self,
        repository: Repository,
        make_target: Callable[..., Target],
        metrics: Metrics,
        default_model: str | None,
    ) -> None:
        self._repository, self._make_target, self._metrics = repository, make_target, metrics
        self._default = default_model
        self._overrides = Overrides(make_target)
        self._refreshing = asyncio.Lock()
        self.models: Mapping[str, Model] = {}
        self.problem: str | None = "the model repository has not been read yet"

    @property
    def is_ready(self) -> bool:
        """Whether at least one model has a verified version to answer from."""
        return any(model.target is not None for model in self.models.values())

    def target(self, name: str) -> Target:
        """Return who answers for the model `name`: the stable version (rollouts will choose here)."""
        if (model := self.models.get(name)) is None:
            raise UnknownModelError(name, self.models)
        if model.target is None:
            raise ModelUnavailableError(f"model {name!r} has no version that can answer: {model.problem}")
        return model.target

    async def override(self, name: str, version: int) -> Target:
        """Return who answers from a verified version of a known model that gets no traffic of its own."""
        known = self.models[name].stored.versions
        if version not in known:
            raise UnknownVersionError(
                f"model {name!r} has no verified version {version}; known: {', '.join(map(str, sorted(known)))}"
            )
        try:
            return await self._overrides.target(known[version])
        except VersionRejectedError as error:
            raise ModelUnavailableError(f"version {version} of model {name!r} does not load: {error}") from error

    def default_model(self) -> str:
        """Return the model behind `/predict`: the configured one, else the only one that can answer."""
        if self._default is not None:
            return self._default
        names = sorted(name for name, model in self.models.items() if model.target is not None)
        if len(names) == 1:
            return names[0]
        if not names:
            why = "; ".join(f"{name}: {model.problem}" for name, model in sorted(self.models.items()))
            raise ModelUnavailableError(f"the model repository holds no model that can answer; {why or 'it is empty'}")
        raise InvalidRequestError(
            "several models are served and RETORT_DEFAULT_MODEL names none: use /v1/models/{model}/predict with one of "
            + ", ".join(names)
        )

    async def watch(self, every_s: float) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(every_s)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the repository on a thread; when it cannot be read, everything stays as it was. Raises nothing."""
        async with self._refreshing:  # an older look that ended last would undo a newer one
            await self._refresh()

    async def _refresh(self) -> None:
        try:
            models = await asyncio.to_thread(self._load)
            self._announce(models)
        except RepositoryUnreadableError as error:
            self._metrics.repository_errors.inc()
            if self.problem != str(error):
                log.error("%s; the last good state stays", error)  # the sentence says it all
            self.problem = str(error)
            return
        except Exception:
            # Broad on purpose: whatever one odd file sets off here would end the start, or the watch for ever.
            self._metrics.repository_errors.inc()
            log.exception("unforeseen error while reading the model repository; the last good state stays")
            self.problem = "an unforeseen error while reading the model repository; the log has its trace"
            return
        problem = None
        if self._default is not None and self._default not in models:
            known = ", ".join(sorted(models)) or "none"
            problem = f"RETORT_DEFAULT_MODEL {self._default!r} is not in the repository; known models: {known}"
            if self.problem != problem:
                log.error("%s", problem)
        self.models, self.problem = models, problem

    def _load(self) -> dict[str, Model]:
        before = {name: model.stored for name, model in self.models.items()}
        stored = self._repository.scan(before)
        if before and not stored:
            raise RepositoryUnreadableError(
                f"the model repository {self._repository.url} is empty all at once, as an unmounted volume is; "
                "restart the gateway if that is meant"
            )
        return {name: self._model(model, self.models.get(name)) for name, model in stored.items()}

    def _model(self, stored: StoredModel, before: Model | None) -> Model:
        rejected = {version: found.reason for version, found in stored.rejected.items()}
        old = before.target if before else None
        if stored.stable is None:
            return Model(stored, None, rejected, stored.problem)
        stable = stored.versions[stored.stable]
        if old is not None and old.manifest.digest == stable.manifest.digest:
            return Model(stored, old, rejected, stored.problem)
        try:
            return Model(stored, self._make_target(stable, cohort="stable"), rejected, stored.problem)
        except VersionRejectedError as error:
            rejected[stored.stable] = str(error)
            return Model(stored, old, rejected, f"version {stored.stable} does not load: {error}")

    def _announce(self, models: Mapping[str, Model]) -> None:
        """Log and measure what changed."""
        self._metrics.versions.clear()
        self._metrics.model_info.clear()
        for name, model in models.items():
            before = self.models.get(name)
            for version, reason in model.rejected.items():
                self._metrics.versions.labels(name, str(version), "rejected").set(1)
                if before is None or before.rejected.get(version) != reason:
                    log.error("model %s version %d is rejected: %s", name, version, reason)
            for version in model.stored.versions.keys() - model.rejected.keys():
                self._metrics.versions.labels(name, str(version), "verified").set(1)
            if model.problem and (before is None or before.problem != model.problem):
                log.error("model %s: %s", name, model.problem)
            if (target := model.target) is None:
                continue
            self._metrics.model_info.labels(name, target.version, target.manifest.digest, target.cohort).set(1)
            if before is None or before.target is not target:
                self._metrics.queue_depth.labels(name).set_function(partial(_depth, target))
                log.info("model %s answers from version %s (%s)", name, target.version, target.manifest.digest)
        for name, model in self.models.items():
            self._retire(name, model, models.get(name))

    def _retire(self, name: str, before: Model, now: Model | None) -> None:
        if now is None:
            log.warning("model %s is gone from the repository", name)
        if before.target is not None and (now is None or now.target is None):
            self._metrics.queue_depth.remove(name)  # it would keep the target


def _depth(target: Target) -> int:
    return target.batcher.depth
