"""The states of the catalog's models, as /readyz and the admin API show them."""

from gateway.http.schemas import ModelReadiness, ModelState, VersionState
from gateway.serving.catalog import Catalog, Model


def of(catalog: Catalog) -> dict[str, ModelState]:
    """Return every model's state by its name."""
    return {name: _state(model) for name, model in catalog.models.items()}


def brief(catalog: Catalog) -> dict[str, ModelReadiness]:
    """Return by its name whether every model answers."""
    return {name: ModelReadiness(ready=model.target is not None) for name, model in catalog.models.items()}


def _state(model: Model) -> ModelState:
    stable = model.target.manifest.version if model.target else None
    versions = {
        str(version): VersionState(state="stable" if version == stable else "verified", digest=found.manifest.digest)
        for version, found in model.stored.versions.items()
    }
    versions |= {
        str(version): VersionState(state="rejected", reason=reason) for version, reason in model.rejected.items()
    }
    return ModelState(ready=stable is not None, stable=stable, problem=model.problem, versions=versions)
