"""The machine's facts: no secrets among the settings, a busy moment is a warning."""

from dataclasses import replace

from retort_cli.bench.machine import look, processor


def test_settings_that_may_hold_a_secret_or_a_place_stay_out() -> None:
    environment = {
        "RETORT_GATEWAY_BATCH_ROWS": "8",
        "RETORT_INSTANCES": "2",
        "RETORT_API_KEY": "secret",
        "RETORT_TRITON_API_KEY": "secret",
        "RETORT_REDIS_URL": "redis://:secret@host",
        "RETORT_HOST": "name",
        "HOME": "x",
    }
    assert look(environment).settings == {"RETORT_GATEWAY_BATCH_ROWS": "8", "RETORT_INSTANCES": "2"}


def test_a_busy_moment_is_a_warning() -> None:
    facts = look({})
    assert replace(facts, load_average=0.5).warnings == []
    (warning,) = replace(facts, load_average=0.51).warnings
    assert "0.51" in warning


def test_the_processor_is_named() -> None:
    assert processor("processor\t: 0\nmodel name\t: AMD EPYC 7B13\nmodel name\t: AMD EPYC 7B13\n") == "AMD EPYC 7B13"
    assert processor("CPU implementer : 0x41\n")
    assert look({}).packages["fastapi"] != "not installed"
