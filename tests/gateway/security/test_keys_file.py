"""The keys file: what a line may say, and that a wrong one is never repeated."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.caller import Caller, Rate
from gateway.errors import SettingsError
from gateway.security.keys_file import KeysFile

A, B = "a" * 64, "b" * 64
FILE = KeysFile(Path("keys"), "RETORT_API_KEYS_FILE")


def parse(content: str, *, options: bool = True) -> dict[str, Caller]:
    """The callers in a file with this content."""
    return KeysFile(Path("keys"), "RETORT_API_KEYS_FILE", options).parse(content.encode())


@pytest.mark.parametrize(
    ("line", "caller"),
    [
        (f"{A} alice", Caller("alice", "alice")),
        (f"  {A}\t alice \r", Caller("alice", "alice")),
        (f"{A} alice tenant=acme", Caller("alice", "acme")),
        (f"{A} alice rate=50 burst=100", Caller("alice", "alice", Rate(50, 100))),
        (f"{A} alice rate=50", Caller("alice", "alice", Rate(50, 50))),
        (f"{A} alice rate=0.5", Caller("alice", "alice", Rate(0.5, 1))),
        (f"{A} alice models=b,a", Caller("alice", "alice", models=frozenset({"a", "b"}))),
        (
            f"{A} alice may=cache-bypass,route-version",
            Caller("alice", "alice", permissions=frozenset({"cache-bypass", "route-version"})),
        ),
    ],
)
def test_a_line(line: str, caller: Caller) -> None:
    assert parse(f"# keys\n\n{line}\n") == {A: caller}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "expected `<sha256 hex of the key> <name>` and options"),
        (f"{A}", "expected"),
        (f"{A.upper()} alice", "expected"),
        (f"{A} rate=5", "expected"),
        *[(f"{A} {name}", "the name must be 1 to 64 letters") for name in ("\x1b[31mSECRET", "SECRET" * 11, "sécret")],
        (f"{A} alice SECRET", "option 1 is none of tenant=, rate="),
        (f"{A} alice rate=5 SECRET=1", "option 2 is none of"),
        (f"{A} alice rate=1 rate=2", "rate= is there twice"),
        (f"{A} alice tenant=", "tenant= must be"),
        (f"{A} alice tenant=SECRET/", "tenant= must be"),
        (f"{A} alice burst=5", "burst= says nothing without rate="),
        *[(f"{A} alice rate={rate}", "rate= must be") for rate in ("", "0", "-1", "nan", "inf", "1e7", "SECRET")],
        *[(f"{A} alice rate=1 burst={burst}", "burst= must be") for burst in ("", "0", "1.5", "-1", "٣", "9" * 30)],
        *[(f"{A} alice models={models}", "models= must be") for models in ("", "a,", "../SECRET", "A")],
        *[(f"{A} alice may={may}", "may= must be cache-bypass or route-version") for may in ("", "SECRET")],
    ],
)
def test_a_wrong_line_is_named_and_not_repeated(line: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse(f"{B} bob\n{line}")
    assert str(refused.value).startswith("keys, line 2: ")
    assert message in str(refused.value)
    assert "SECRET" not in str(refused.value)


@given(st.text(alphabet=st.characters(exclude_characters="\n#", codec="utf-8"), min_size=8))
def test_no_word_of_a_wrong_line_leaves(line: str) -> None:
    try:
        parse(f"{A} alice {line}")
    except SettingsError as error:
        said = str(error).partition(": ")[2]
        options = ("option", "tenant=", "rate=", "burst=", "models=", "may=", "route-version", "cache-bypass")
        for word in line.split():
            assert len(word) < 8 or word in options or word not in said


def test_an_owner_may_have_two_keys_while_they_change_but_only_one_set_of_options() -> None:
    assert set(parse(f"{A} alice rate=5\n{B} alice rate=5")) == {A, B}
    with pytest.raises(SettingsError, match="line 2: the name of line 1 with other options"):
        parse(f"{A} alice rate=5\n{B} alice rate=6")
    with pytest.raises(SettingsError, match="line 2: this key is in the file already"):
        parse(f"{A} alice\n{A} bob")


def test_administrators_have_no_options() -> None:
    assert parse(f"{A} root", options=False) == {A: Caller("root", "root")}
    with pytest.raises(SettingsError, match="and nothing more"):
        parse(f"{A} root rate=5", options=False)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(SettingsError, match="RETORT_API_KEYS_FILE keys holds no key"):
        parse("# nobody\n")
