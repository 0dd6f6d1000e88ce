"""The key is made once, shown, confirmed, and never read by others; what is remembered survives a broken file."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.backup.errors import BackupError
from appliance.backup.key import confirm_key, make_key, read_key, replace_key, show_key
from appliance.backup.record import NAME, change_record, errors_recorded, read_record


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "secrets" / "key", tmp_path / "backups"


def test_the_life_of_a_key(places: tuple[Path, Path]) -> None:
    file, backups = places
    with pytest.raises(BackupError, match="there is no key"):
        read_key(file)
    assert make_key(file, backups)
    assert not make_key(file, backups), "never a second time"
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupError, match="not shown yet"):
        confirm_key(file, backups)
    key = show_key(file, backups, again=False)
    assert key == file.read_text().strip()
    assert len(key) == 40
    assert read_record(backups).key_confirmed_at is None
    confirm_key(file, backups)
    assert read_record(backups).key_confirmed_at is not None
    with pytest.raises(BackupError, match="confirmed"):
        show_key(file, backups, again=False)
    assert show_key(file, backups, again=True) == key
    assert key not in (backups / NAME).read_text()


def test_a_key_that_others_may_read_is_refused(places: tuple[Path, Path]) -> None:
    file, backups = places
    make_key(file, backups)
    file.chmod(0o640)
    with pytest.raises(BackupError, match="other users may read"):
        read_key(file)


@pytest.mark.parametrize("content", ["", "tiny\n", "two lines of it\nand more\n"], ids=["none", "few", "two"])
def test_what_is_no_key(places: tuple[Path, Path], content: str) -> None:
    file, backups = places
    make_key(file, backups)
    file.write_text(content)
    with pytest.raises(BackupError, match="this is no key") as refused:
        read_key(file)
    assert "tiny" not in str(refused.value)


def test_a_restored_key_replaces_the_one_that_was_made_here(places: tuple[Path, Path]) -> None:
    file, backups = places
    make_key(file, backups)
    own = read_key(file)
    replace_key(file, backups, "the-key-of-the-other-machine")
    assert read_key(file) == "the-key-of-the-other-machine"
    assert file.with_name("key.before-restore").read_text().strip() == own
    assert read_record(backups).key_confirmed_at is not None, "whoever restores has it from somewhere"


def test_what_is_remembered(tmp_path: Path) -> None:
    assert read_record(tmp_path).last_run is None
    change_record(tmp_path, key_shown_at=1.0)
    with pytest.raises(BackupError), errors_recorded(tmp_path):
        raise BackupError("it broke", "Mend it.")
    record = read_record(tmp_path)
    assert (record.error, record.key_shown_at) == ("it broke; Mend it.", 1.0)
    with errors_recorded(tmp_path):
        pass
    assert read_record(tmp_path).error == ""
    (tmp_path / NAME).write_text("broken")
    assert read_record(tmp_path).error == ""
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
