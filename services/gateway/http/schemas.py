"""What goes in and out over HTTP, as OpenAPI shows it.

The hot routes read their bodies by hand (api/bodies.py, api/oip_bodies.py); tests hold the two to the same answer.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1, description="Not blank.", examples=["the card was charged twice"])]
Pair = Annotated[list[Text], Field(min_length=2, max_length=2)]


class PredictRequest(BaseModel):
    """One text for the default model."""

    model_config = ConfigDict(strict=True)
    text: Text


class PredictAnswer(BaseModel):
    """The most probable label of the text and its probability."""

    prediction: str | None
    confidence: float
    model: str
    version: int


class ModelPredictRequest(BaseModel):
    """One text, many texts, or pairs of texts (for models that read pairs)."""

    model_config = ConfigDict(strict=True)
    inputs: Text | Annotated[list[Text], Field(min_length=1)] | Annotated[list[Pair], Field(min_length=1)]


class LabelScore(BaseModel):
    """The most probable label of one text and its probability; without labels the model's score."""

    label: str | None
    score: float


class TensorIn(BaseModel):
    """One input tensor of the Open Inference Protocol: `text` BYTES [n, 1], or the model's own tensors INT64."""

    name: str = Field(examples=["text"])
    datatype: Literal["BYTES", "INT64"]
    shape: list[int] = Field(min_length=2, max_length=2, examples=[[1, 1]])
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = Field(
        default=None,
        description="Flat, or nested as `shape` says; with `binary_data_size` among the parameters, after the JSON.",
        examples=[["a good film"]],
    )


class OutputChoice(BaseModel):
    """An output that the caller wants; without any, all are sent."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(BaseModel):
    """An inference call of the Open Inference Protocol in JSON."""

    id: str | None = None
    parameters: dict[str, Any] | None = Field(default=None, description="`timeout`: microseconds.")
    inputs: list[TensorIn] = Field(min_length=1)
    outputs: list[OutputChoice] | None = None


class TensorOut(BaseModel):
    """One output tensor: `label` BYTES [n, 1] and `score` FP32 [n, 1], or `logits` FP32 [n, classes]."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferAnswer(BaseModel):
    """The answer of the Open Inference Protocol; `model_version` is the version that answered."""

    model_config = ConfigDict(protected_namespaces=())
    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[TensorOut]


class TensorMetadata(BaseModel):
    """Name, type and shape of a tensor; -1 = any."""

    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(BaseModel):
    """Who serves here and what it can do."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(BaseModel):
    """A model's text interface; `parameters` tells its own tensors, digest and limits."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    parameters: dict[str, Any]


class RepositoryVersion(BaseModel):
    """One version in the repository, in Triton's words."""

    name: str
    version: str
    state: str
    reason: str


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """It can answer inference calls."""

    ready: bool


class VersionState(BaseModel):
    """One version in the repository."""

    state: Literal["stable", "verified", "rejected"]
    digest: str | None = None
    reason: str | None = None


class ModelState(BaseModel):
    """One model in the repository."""

    ready: bool
    stable: int | None
    problem: str | None
    versions: dict[str, VersionState]


class ModelReadiness(BaseModel):
    """Whether a model has a version that answers."""

    ready: bool


class BriefReadiness(BaseModel):
    """Whether traffic should come here: all that a caller without a key is told."""

    ready: bool
    draining: bool
    models: dict[str, ModelReadiness]


class Readiness(BaseModel):
    """Whether traffic should come here, and everything that an operator asks next."""

    ready: bool
    draining: bool
    problem: str | None
    models: dict[str, ModelState]
    upstreams: dict[str, str]


class ErrorDetail(BaseModel):
    """A code for programs and a sentence for people."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """Every error outside `/v2`."""

    error: ErrorDetail
    request_id: str


class OipErrorAnswer(BaseModel):
    """Every error under `/v2`, as the Open Inference Protocol says."""

    error: str
