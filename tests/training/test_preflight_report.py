"""Tests of training/preflight_report.py; the whole page is in test_preflight.py."""

from training import preflight_report


def test_a_strangers_text_stays_one_harmless_cell() -> None:
    cell = preflight_report._cell("a | b\n# c <script> *x* `y` [z](w)")
    assert "\n" not in cell
    assert cell == r"a \| b \# c \<script\> \*x\* \`y\` \[z\](w)"
    assert len(preflight_report._cell("x" * 1000)) < 210


def test_durations_are_in_the_unit_that_one_reads() -> None:
    found = [preflight_report._duration(hours) for hours in (9 / 3600, 0.5, 5.0)]
    assert found == ["9 s", "30.0 min", "5.0 h"]
