"""The `retort` command: parse, hand over to the command's file, print its error as one sentence."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from retort_cli.errors import CommandError

# command -> (file, what it does). The files are imported when called: `retort predict` must not import torch.
COMMANDS = {
    "up": ("retort_cli.up", "run the model server and the gateway on this machine"),
    "train": ("retort_cli.train", "train, distil, quantise and publish what a configuration file describes"),
    "predict": ("retort_cli.predict", "ask a running gateway about a text"),
    "bench": ("retort_cli.bench.command", "measure how fast this machine serves a model, beside what limits it"),
    "cache": ("retort_cli.cache", "say what a semantic cache would do with a file of texts"),
    "adopt": ("retort_cli.adopt", "copy the models of another repository, verified, into one that lacks them"),
    "models": ("retort_cli.models", "list the models and versions of a model repository"),
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; exits 0, 1 (the command failed) or 2 (the command line is wrong)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="retort", description=__doc__, add_help=True)
    parser.epilog = "`retort COMMAND --help` describes a command"
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    chosen = parser.parse_args(arguments[:1]).command
    module = import_module(COMMANDS[chosen][0])
    command_parser = argparse.ArgumentParser(prog=f"retort {chosen}", description=COMMANDS[chosen][1])
    module.add_arguments(command_parser)
    run: Callable[[argparse.Namespace], int] = module.run
    try:
        sys.exit(run(command_parser.parse_args(arguments[1:])))
    except CommandError as error:
        sys.exit(f"retort: {error}")
    except BrokenPipeError:  # `retort models | head`
        sys.exit(1)
    except OSError as error:  # a folder that cannot be written, a full disk
        sys.exit(f"retort: {error}")


if __name__ == "__main__":
    main()
