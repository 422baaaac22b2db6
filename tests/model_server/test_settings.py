"""Settings: what is wrong is named."""

import pytest

from model_server.errors import SettingsError
from model_server.settings import load


def test_the_environment_is_read_and_others_names_are_left_alone() -> None:
    settings = load({"RETORT_TRITON_GRPC_PORT": "9", "RETORT_TRITON_URLS": "a:1", "RETORT_HTTP_PORT": "8080", "X": "y"})
    assert settings.triton_grpc_port == 9
    assert settings.loader_port == 8003


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "RETORT_TRITON_GPRC_PORT",
            "1",
            "RETORT_TRITON_GPRC_PORT is not a setting .* did you mean RETORT_TRITON_GRPC_PORT",
        ),
        ("RETORT_TRGET", "gpu", "RETORT_TRGET is not a setting .* did you mean RETORT_TARGET"),
        ("RETORT_INSTANCE", "2", "did you mean RETORT_INSTANCES"),
        ("RETORT_COLOUR", "1", "RETORT_COLOUR is not a setting"),
        ("RETORT_LOADER_FLAVOUR", "1", "RETORT_LOADER_FLAVOUR is not a setting"),
        ("RETORT_LOADER_PORT", "many", "RETORT_LOADER_PORT: .*integer"),
        ("RETORT_LOADER_PORT", "70000", "RETORT_LOADER_PORT: .*65535"),
        ("RETORT_TRITON_TENSORRT", "INT4", "RETORT_TRITON_TENSORRT: .*'FP16' or 'INT8'"),
        ("RETORT_TARGET", "tpu", "RETORT_TARGET: .*'cpu' or 'gpu'"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load({name: value})


@pytest.mark.parametrize(
    ("host", "reached"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.0.0.1", "10.0.0.1")]
)
def test_triton_is_reached_where_it_listens(host: str, reached: str) -> None:
    assert load({"RETORT_TRITON_HOST": host}).triton_address == reached


@pytest.mark.parametrize(
    "name",
    [
        *("TRITON_URLS", "DEFAULT_MODEL", "HOST", "HTTP_PORT", "GRPC_PORT", "ADMIN_PORT", "METRICS_PORT", "AUTH"),
        *("API_KEYS_FILE", "API_KEY", "WORKERS", "REDIS_URL", "CACHE", "GATEWAY_POLL_S", "GATEWAY_PROBE_S", "LOG_X"),
    ],
)
def test_the_other_parts_names_are_theirs_to_check(name: str) -> None:
    assert load({f"RETORT_{name}": "anything"}) == load({})
