"""The secrets that settings name, and the settings that are refused."""

from pathlib import Path

import pytest

from gateway.errors import SettingsError
from gateway.security.secrets import Secrets
from gateway.settings import load


def test_an_open_bind_without_keys_is_refused(published: Path) -> None:
    environment = {"RETORT_MODEL_REPOSITORY": str(published), "RETORT_HOST": "0.0.0.0"}
    with pytest.raises(SettingsError, match="RETORT_AUTH=off"):
        Secrets.read(load(environment))
    Secrets.read(load(environment | {"RETORT_AUTH": "off"}))


def test_an_admin_key_that_opens_the_api_too_is_refused(published: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{'0' * 64} alice\n")
    (tmp_path / "admin").write_text(f"{'0' * 64} root\n")
    environment = {"RETORT_MODEL_REPOSITORY": str(published), "RETORT_ADMIN_KEY_FILE": str(tmp_path / "admin")}
    assert Secrets.read(load(environment)).admin_keys is not None
    with pytest.raises(SettingsError, match="administrators need their own"):
        Secrets.read(load(environment | {"RETORT_API_KEYS_FILE": str(tmp_path / "keys")}))


@pytest.mark.parametrize("changed", ["keys", "admin"])
async def test_a_key_that_comes_to_open_both_is_refused(published: Path, tmp_path: Path, changed: str) -> None:
    files = {"keys": f"{'0' * 64} alice\n", "admin": f"{'1' * 64} root\n"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    environment = {
        "RETORT_MODEL_REPOSITORY": str(published),
        "RETORT_ADMIN_KEY_FILE": str(tmp_path / "admin"),
        "RETORT_API_KEYS_FILE": str(tmp_path / "keys"),
    }
    secrets = Secrets.read(load(environment))
    assert secrets.admin_keys is not None
    reloaded = {"keys": secrets.keys, "admin": secrets.admin_keys}[changed]
    (tmp_path / changed).write_text(f"{'0' * 64} both\n{'1' * 64} both\n")
    with pytest.raises(SettingsError, match="administrators need their own"):
        await reloaded.reload()
    assert [len(keys.digests) for keys in (secrets.keys, secrets.admin_keys)] == [1, 1]
    (tmp_path / changed).write_text(f"{'2' * 64} new\n")
    await reloaded.reload()
    assert reloaded.digests == {"2" * 64}
