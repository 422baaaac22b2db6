"""The one error of the command line: a sentence for the user."""


class CommandError(Exception):
    """Printed as `retort: <message>`; the exit code is 1."""
