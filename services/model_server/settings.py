"""The model server's settings: the only file that reads the environment."""

import difflib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from model_server.errors import SettingsError

PREFIX = "RETORT_"
# Names of the product's other parts in the same environment: theirs to check, not ours.
OTHER_PARTS = (
    *("ADMIN_", "API_", "AUTH", "BENCH_", "CACHE", "DEFAULT_", "GATEWAY_", "GRPC_", "HOST", "HTTP_", "LOG_"),
    *("METRICS_", "REDIS_", "ROLLOUT_", "TRAIN_", "WORKERS"),
)
OTHERS = frozenset({"TRITON_URLS"})


class Settings(BaseModel):
    """Everything that an operator may set; names in the environment are RETORT_ + the upper-case field."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_repository: Path = Field(Path("model-repo"), description="the folder to serve from, read only")
    target: Literal["cpu", "gpu"] = Field("cpu", description="versions published for another are refused")
    instances: int = Field(0, ge=0, description="instances of a model; 0: one a core on CPU, config.pbtxt's on GPU")
    threads: int = Field(0, ge=0, description="threads of an instance; 0: 1 on CPU, config.pbtxt's on GPU")
    triton_tensorrt: Literal["", "FP32", "FP16", "INT8"] = Field(
        "", description="precision of TensorRT on GPU; empty: config.pbtxt's accelerators"
    )
    triton_home: Path = Field(Path(sys.prefix, "triton"), description="where the Triton wheel is unpacked")
    triton_host: str = Field("127.0.0.1", description="address that Triton and the loader listen on")
    triton_http_port: int = Field(8000, ge=1, le=65535)
    triton_grpc_port: int = Field(8001, ge=1, le=65535)
    triton_metrics_port: int = Field(8002, ge=1, le=65535)
    triton_api_key: SecretStr | None = Field(None, description="key of Triton's control APIs; generated when unset")
    loader_port: int = Field(8003, ge=1, le=65535, description="the loader's /readyz, /status and /metrics")
    loader_poll_s: float = Field(2.0, gt=0, description="between looks at the repository and at Triton")
    loader_grace_s: float = Field(30.0, ge=0, description="how long a former stable version stays loaded")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def triton_address(self) -> str:
        """Where this process reaches Triton: its own machine when Triton listens on every address."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.triton_host, self.triton_host)  # noqa: S104


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment; SettingsError names the variable that is wrong or that nobody knows."""
    own = {PREFIX + field.upper(): field for field in Settings.model_fields}
    for name in sorted(name for name in environment if name.startswith(PREFIX) and name not in own):
        key = name.removeprefix(PREFIX)
        near = difflib.get_close_matches(key, [field.upper() for field in Settings.model_fields], n=1, cutoff=0.85)
        if key not in OTHERS and (near or not key.startswith(OTHER_PARTS)):
            hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
            raise SettingsError(f"{name} is not a setting of Retort's model server{hint}")
    try:
        return Settings.model_validate({field: environment[name] for name, field in own.items() if name in environment})
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{PREFIX}{str(first['loc'][0]).upper()}: {first['msg']}") from error
