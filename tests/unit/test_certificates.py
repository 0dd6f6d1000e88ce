from pathlib import Path

from appliance.certificates import system_bundle


def test_the_first_place_that_holds_something_is_taken(tmp_path: Path) -> None:
    absent, empty, first, second = (tmp_path / name for name in ("absent", "empty", "first", "second"))
    empty.touch()
    first.write_text("certificates")
    second.write_text("certificates")
    assert system_bundle(map(str, (tmp_path, absent, empty, first, second))) == first


def test_none_where_there_is_none(tmp_path: Path) -> None:
    assert system_bundle([str(tmp_path / "absent")]) is None
