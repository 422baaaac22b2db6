"""`retort adopt SOURCE`: the models of another repository, verified, into one that lacks them."""

import argparse
import os
from pathlib import Path

from retort_cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("source", type=Path, help="a model repository")
    repository = os.environ.get("RETORT_MODEL_REPOSITORY") or "model-repo"
    parser.add_argument("--repository", type=Path, default=Path(repository), help="default: %(default)s")
    parser.add_argument("--if-empty", action="store_true", help="do nothing when the repository holds a model")


def run(arguments: argparse.Namespace) -> int:
    """Copy; prints a line a model."""
    from training.adoption import adopt, models
    from training.errors import PublishError

    try:
        present = models(arguments.repository)
        if present and arguments.if_empty:
            print(f"{arguments.repository} holds {', '.join(path.name for path in present)} already")
            return 0
        found = models(arguments.source)
        if not found:
            raise CommandError(f"{arguments.source} holds no model")
        for model in found:
            identity = adopt(model, arguments.repository)
            print(f"{model.name}: " + (f"copied ({identity})" if identity else "is there already"))
    except PublishError as error:
        raise CommandError(str(error)) from error
    return 0
