"""What an answer's headers tell."""

from loadtests.reply import Reply, steps_ms


def test_server_timing_is_read_and_odd_parts_are_left_out() -> None:
    assert steps_ms("queue;dur=1.5, triton;dur=3, db;desc=x") == {"queue": 1.5, "triton": 3}
    assert steps_ms("") == {}


def test_an_answer_has_a_label_a_text() -> None:
    reply = Reply.of(["a", "b"], 2, {"x-cache": "exact", "server-timing": "total;dur=2"})
    assert reply == Reply("answered", ["a", "b"], "", "exact", {"total": 2})
    assert Reply.of(["a"], 2, {}).outcome == Reply.of(None, 1, {}).outcome == "failed"
