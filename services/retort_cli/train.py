"""`retort train CONFIG`: from a TOML file to a published version, or to the sentence that says why not."""

import argparse
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from retort_cli.errors import CommandError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("config", type=Path, help="a training configuration, e.g. training/configs/demo.toml")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--check", action="store_true", help="only the preflight: data, model, memory, time and cost")
    only.add_argument("--find-rate", action="store_true", help="only a sweep over learning rates, with a suggestion")
    repository = os.environ.get("RETORT_MODEL_REPOSITORY") or "model-repo"
    parser.add_argument("--repository", type=Path, default=Path(repository), help="default: %(default)s")


def run(arguments: argparse.Namespace) -> int:
    """Train and publish; the published version is the last line on standard output. Goes on where a kill ended it."""
    try:
        import training.config
        import training.job
        from training.errors import TrainingError
    except ModuleNotFoundError as error:
        raise CommandError(f"training needs more packages ({error.name}): pip install 'retort[training]'") from error
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        config = training.config.load(arguments.config)
        if arguments.check:
            print(f"nothing stops this run: {training.job.check(config)}")
            return 0
        if arguments.find_rate:
            sweep, plot = training.job.find_rate(config)
            for rate, loss in zip(sweep.rates, sweep.losses, strict=True):
                print(f"{rate:9.2e}  {loss:.4f}")
            print(f"try learning_rate = {sweep.suggestion:.1e} (plot: {plot})")
            return 0
        published = training.job.run(config, arguments.repository)
    except TrainingError as error:
        raise CommandError(str(error)) from error
    except OSError as error:  # a full disk, a folder that cannot be written
        raise CommandError(f"training stopped and published nothing: {error}") from error
    except KeyboardInterrupt:
        print("retort: training was interrupted, nothing was published; run it again to go on", file=sys.stderr)
        return 130
    if published is None:  # one of several processes, and not the one that publishes
        return 0
    print(f"published {published.model} version {published.version} ({published.digest}) to {published.path}")
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
