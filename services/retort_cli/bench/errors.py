"""The one error that does not end a benchmark."""

from retort_cli.errors import CommandError


class SkippedError(CommandError):
    """Something that a section needs is not here; the report says so and the other sections go on."""
