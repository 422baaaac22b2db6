"""Settings: read once, every wrong name and value named."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.errors import SettingsError
from gateway.settings import Settings, load
from model_server.settings import Settings as ModelServerSettings


def test_defaults() -> None:
    settings = load({})
    assert (settings.host, settings.http_port, settings.metrics_port) == ("127.0.0.1", 8080, 9091)
    assert settings.upstreams == ["127.0.0.1:8001"]


def test_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETORT_TRITON_URLS", "a:1, b.c-d_e:2,[::1]:8001,10.0.0.1:65535")
    monkeypatch.setenv("RETORT_HTTP_PORT", "0")
    settings = load()
    assert (settings.upstreams, settings.http_port) == (["a:1", "b.c-d_e:2", "[::1]:8001", "10.0.0.1:65535"], 0)


def test_settings_do_not_change() -> None:
    settings: Any = load({})
    with pytest.raises(ValidationError):
        settings.http_port = 1


@pytest.mark.parametrize(
    "name",
    [*sorted(map(str.upper, ModelServerSettings.model_fields.keys() - Settings.model_fields.keys())), "CACHE"],
)
def test_the_other_parts_settings_are_theirs(name: str) -> None:
    load({f"RETORT_{name}": "x", "PATH": "y"})


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("RETORT_MODEL_REPOSITRY", "RETORT_MODEL_REPOSITORY"),
        ("RETORT_TRITON_URL", "RETORT_TRITON_URLS"),
        ("RETORT_HTTP_PRT", "RETORT_HTTP_PORT"),
        ("RETORT_COLOUR", "is not a setting"),
        *[(f"RETORT_{name}", "is not a setting") for name in ("LOG_TEXT_SHARE", "CACHE_TTL", "ADMIN_TOKEN", "AUT")],
        ("RETORT_REDIS_ULR", "RETORT_REDIS_URL"),
        ("RETORT_LOADER_PRT", "RETORT_LOADER_PORT"),
    ],
)
def test_an_unknown_setting_is_named(name: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=name) as refused:
        load({name: "1"})
    assert hint in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RETORT_HTTP_PORT", "http"),
        ("RETORT_HTTP_PORT", "70000"),
        ("RETORT_AUTH", "maybe"),
        ("RETORT_WORKERS", "0"),
        ("RETORT_WORKERS", "17"),
        ("RETORT_WORKERS", "two"),
        ("RETORT_TRITON_URLS", ""),
        ("RETORT_TRITON_URLS", "triton"),
        *[
            ("RETORT_TRITON_URLS", f"triton:8001,{wrong}")
            for wrong in (
                "http://triton:8001",
                "t:99999",
                "t:0",
                "::1:8001",
                "t:\u0668\u0660",
                "t:8001/v2",
                ":8001",
                "a b:1",
            )
        ],
        ("RETORT_GATEWAY_MAX_QUEUE_ROWS", "255"),
        ("RETORT_GATEWAY_DEADLINE_MS", "60001"),
        ("RETORT_GATEWAY_POLL_S", "0"),
        ("RETORT_GATEWAY_LOG_TEXT_SHARE", "1.1"),
        ("RETORT_GATEWAY_TRACE_SHARE", "1.1"),
        ("RETORT_OTLP_ENDPOINT", "collector:4318"),
        ("RETORT_OTLP_ENDPOINT", "http://"),
        ("RETORT_OTLP_ENDPOINT", "grpc://collector:4317"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({name: value})


def test_what_the_command_line_reads_from_the_same_environment_is_left_alone() -> None:
    load({"RETORT_API_KEY": "for `retort predict`"})


@pytest.mark.parametrize(("given", "missing"), [("CERT", "KEY"), ("KEY", "CERT")])
def test_tls_needs_both_files(given: str, missing: str) -> None:
    with pytest.raises(SettingsError, match=f"RETORT_TLS_{missing}_FILE is not set"):
        load({f"RETORT_TLS_{given}_FILE": "x"})


def test_keys_that_nobody_would_ask_for_are_refused() -> None:
    load({"RETORT_AUTH": "off", "RETORT_API_KEYS_FILE": ""})
    with pytest.raises(SettingsError, match="RETORT_AUTH=off and RETORT_API_KEYS_FILE contradict each other"):
        load({"RETORT_AUTH": "off", "RETORT_API_KEYS_FILE": "keys"})


def test_what_is_shown_holds_no_password() -> None:
    shown = load({"RETORT_REDIS_URL": "rediss://user:p@ss@redis:6379/0", "RETORT_API_KEYS_FILE": "keys"}).shown()
    assert shown["RETORT_REDIS_URL"] == "rediss://***@redis:6379/0"
    assert (shown["RETORT_API_KEYS_FILE"], shown["RETORT_HTTP_PORT"]) == ("keys", 8080)


def test_an_empty_default_model_is_none() -> None:
    assert load({"RETORT_DEFAULT_MODEL": ""}).default_model is None
    assert load({"RETORT_DEFAULT_MODEL": "tiny"}).default_model == "tiny"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", None),
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector/", "https://collector/v1/traces"),
        ("http://collector:4318/v1/traces", "http://collector:4318/v1/traces"),
        ("https://vendor.example/otlp?team=1", "https://vendor.example/otlp?team=1"),
    ],
)
def test_the_collectors_address_gets_the_standard_path_unless_it_has_one(given: str, meant: str | None) -> None:
    assert load({"RETORT_OTLP_ENDPOINT": given}).otlp_endpoint == meant
