"""Settings and secrets: which are saved, and what becomes of those of the machine that they are put back on."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.backup.errors import BackupError
from appliance.backup.manifest import SettingsFile
from appliance.backup.settings_files import FILE_BYTES, put_back, read_files
from appliance.config import LoadedSettings, read_settings


def loaded(folder: Path, text: str = "") -> LoadedSettings:
    (folder / "amda.toml").write_text(f'[paths]\nstate_dir = "{folder / "state"}"\n{text}')
    return read_settings(folder / "amda.toml", {})


def saved(folder: Path, files: dict[str, str]) -> tuple[Path, list[SettingsFile]]:
    """As they lie in a backup that was taken out."""
    for path, content in files.items():
        target = folder / "saved" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return folder / "saved", [SettingsFile(path=path, mode=0o600, user="root", group="root") for path in files]


def test_the_file_and_what_it_names_and_never_the_key(tmp_path: Path) -> None:
    for name in ("login", "password", "key", "other"):
        (tmp_path / name).write_text(name)
    text = f'[storage]\ncredentials = "{tmp_path}/login"\n[redis]\npassword_file = "{tmp_path}/password"\n'
    found = read_files(loaded(tmp_path, f'{text}[backup]\nkey_file = "{tmp_path}/key"\n'))
    assert sorted(Path(file.path).name for file, _ in found) == ["amda.toml", "login", "password"]
    assert {content for _, content in found} >= {b"login", b"password"}


def test_a_file_that_is_none_of_settings(tmp_path: Path) -> None:
    (tmp_path / "login").write_bytes(bytes(FILE_BYTES + 1))
    with pytest.raises(BackupError, match="too large"):
        read_files(loaded(tmp_path, f'[storage]\ncredentials = "{tmp_path}/login"\n'))


def test_saved_settings_are_in_force_again_and_the_machines_own_secrets_stay(tmp_path: Path) -> None:
    here = loaded(tmp_path)
    (tmp_path / "password").write_text("of this machine")
    settings = f'[paths]\nstate_dir = "{tmp_path / "state"}"\n[pairing]\nslots = 7\n'
    files = {str(here.file): settings, f"{tmp_path}/password": "of the old one", f"{tmp_path}/secrets/login": "a login"}
    notes = put_back(*saved(tmp_path, files), str(here.file), here)
    assert here.file.read_text() == settings
    assert (tmp_path / "amda.toml.before-restore").read_text() != settings
    assert (tmp_path / "password").read_text() == "of this machine"
    assert (tmp_path / "secrets" / "login").read_text() == "a login"
    assert (tmp_path / "secrets" / "login").stat().st_mode & 0o077 == 0
    assert [note.partition(":")[0].partition(" is")[0] for note in notes] == [
        str(here.file),
        f"{tmp_path}/password",
        f"{tmp_path}/secrets/login",
    ]


def test_settings_of_other_folders_lie_beside_ours(tmp_path: Path) -> None:
    here = loaded(tmp_path)
    before = here.file.read_text()
    folder, files = saved(tmp_path, {"/old/amda.toml": '[paths]\nstate_dir = "/old/state"\n'})
    [note] = put_back(folder, files, "/old/amda.toml", here)
    assert here.file.read_text() == before
    assert (tmp_path / "amda.toml.restored").read_text().endswith('"/old/state"\n')
    assert "amda.toml.restored" in note


def test_the_same_settings_change_nothing(tmp_path: Path) -> None:
    here = loaded(tmp_path)
    folder, files = saved(tmp_path, {str(here.file): here.file.read_text()})
    assert put_back(folder, files, str(here.file), here) == []
    assert sorted(path.name for path in tmp_path.glob("amda.toml*")) == ["amda.toml"]


@pytest.mark.parametrize(
    ("endpoint", "login"), [("https://s3.example", "of the old one"), ("http://127.0.0.1:9000", "ours")]
)
def test_the_login_of_an_s3_elsewhere_comes_with_the_settings_that_name_it(
    tmp_path: Path, endpoint: str, login: str
) -> None:
    def storage(place: str) -> str:
        return f'[storage]\nkind = "s3"\nendpoint = "{place}"\nbucket = "media"\ncredentials = "{tmp_path}/login"\n'

    here = loaded(tmp_path, storage("http://127.0.0.1:9000"))
    (tmp_path / "login").write_text("ours")
    settings = f'[paths]\nstate_dir = "{tmp_path / "state"}"\n{storage(endpoint)}[pairing]\nslots = 7\n'
    put_back(*saved(tmp_path, {str(here.file): settings, f"{tmp_path}/login": "of the old one"}), str(here.file), here)
    assert (tmp_path / "login").read_text() == login
    kept = tmp_path / "login.before-restore"
    assert kept.exists() == (login != "ours")
    assert not kept.exists() or kept.read_text() == "ours"
