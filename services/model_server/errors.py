"""Everything that can go wrong beside Triton.

ModelServerError
├── SettingsError        a RETORT_* variable is wrong
├── MachineError         Triton cannot run on this machine
├── TritonError
│   ├── TritonEndedError     the process is gone
│   ├── UnreachableError     its control API does not answer
│   └── LoadError            it refuses to load a version
└── RejectedError        a version, or the choice of one, breaks the model repository's contract
"""


class ModelServerError(Exception):
    """Base of all; the message is one sentence that a platform engineer can act on."""


class SettingsError(ModelServerError):
    """A RETORT_* variable is wrong."""


class MachineError(ModelServerError):
    """Triton cannot run on this machine."""


class TritonError(ModelServerError):
    """Triton does not do what it was asked."""


class TritonEndedError(TritonError):
    """The process is gone."""


class UnreachableError(TritonError):
    """Its control API does not answer."""


class LoadError(TritonError):
    """It refuses to load a version."""


class RejectedError(ModelServerError):
    """A version, or the choice of one, breaks the model repository's contract."""
