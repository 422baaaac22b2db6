"""`retort models`: what a model repository holds, every file of it verified."""

import argparse
import os
from collections.abc import Iterator

from gateway.errors import RepositoryError
from gateway.serving.repository import Repository, StoredModel
from retort_cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    repository = os.environ.get("RETORT_MODEL_REPOSITORY") or "model-repo"
    parser.add_argument("--repository", default=repository, help="a folder or an fsspec URL; default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Print a line a version; returns 1 when something does not verify, so that scripts can tell."""
    try:
        models = Repository(arguments.repository).scan({})
    except (RepositoryError, ValueError) as error:
        raise CommandError(str(error)) from error
    if not models:
        raise CommandError(f"{arguments.repository} holds no model; `retort train CONFIG` publishes one")
    rows = [("MODEL", "VERSION", "STATE", "TASK", "DIGEST")]
    for model in models.values():
        rows.extend(_lines(model))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for *cells, last in rows:
        print("  ".join([cell.ljust(width) for cell, width in zip(cells, widths, strict=True)] + [last]))
    problems = [f"{model.name}: {model.problem}" for model in models.values() if model.problem]
    for problem in problems:
        print(problem)
    return 1 if problems or any(model.rejected for model in models.values()) else 0


def _lines(model: StoredModel) -> Iterator[tuple[str, str, str, str, str]]:
    for version in sorted(model.versions.keys() | model.rejected.keys()):
        if version in model.rejected:
            yield model.name, str(version), "rejected", "", model.rejected[version].reason
        else:
            manifest = model.versions[version].manifest
            state = "stable" if version == model.stable else "verified"
            yield model.name, str(version), state, manifest.task, manifest.digest
