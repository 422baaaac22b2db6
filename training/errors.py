"""Errors of the training half.

TrainingError
├── ConfigError          the configuration file is wrong
├── DataError            the data is wrong
├── ModelError           base weights or a teacher cannot be used
├── PreflightError       a check before training failed
├── DivergenceError      the loss went up and did not come back
├── MemoryShortageError  not even one row fits into memory
├── GateError            no artefact is good enough to publish
└── PublishError         the model repository refuses
"""


class TrainingError(Exception):
    """Base of all; the message is one sentence that a user can act on."""


class ConfigError(TrainingError):
    """The configuration file is wrong."""


class DataError(TrainingError):
    """The data is wrong."""


class ModelError(TrainingError):
    """Base weights or a teacher cannot be used."""


class PreflightError(TrainingError):
    """A check before training failed."""


class DivergenceError(TrainingError):
    """The loss went up and did not come back."""


class MemoryShortageError(TrainingError):
    """Not even one row fits into memory."""


class GateError(TrainingError):
    """No artefact is good enough to publish."""


class PublishError(TrainingError):
    """The model repository refuses."""
