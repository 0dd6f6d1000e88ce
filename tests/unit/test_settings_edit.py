"""A setting is changed in the file and nothing else is, however it is written; what is not safe is refused."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.settings_edit import EditError, replace_file, with_value

FILE = """\
# the box in Dakar
[pairing]  # linking
slots = 3  # three at a time
# tries stays

[alerts]
urls = [
    "mailto://a:b@example.org",  # the boss
    "ntfy://x # no comment",
]
webhook_url = "https://example.org/#anchor" # here

# the rest
[log]
level = "info"
"""


def test_value_and_comment() -> None:
    changed = with_value(FILE, "pairing", "slots", 5)
    assert changed == FILE.replace("slots = 3 ", "slots = 5 ")


def test_a_hash_within_a_text_is_no_comment() -> None:
    changed = with_value(FILE, "alerts", "webhook_url", "")
    assert 'webhook_url = "" # here\n' in changed


def test_a_list_of_several_lines_becomes_one() -> None:
    changed = with_value(FILE, "alerts", "urls", ["ntfy://y"])
    assert 'urls = ["ntfy://y"]\nwebhook_url' in changed
    assert tomllib.loads(changed)["pairing"] == {"slots": 3}


def test_a_new_key_stands_at_the_end_of_its_table() -> None:
    changed = with_value(FILE, "alerts", "check_s", 5.5)
    assert "# here\ncheck_s = 5.5\n\n# the rest\n[log]" in changed


def test_a_new_table_stands_at_the_end() -> None:
    assert with_value("", "log", "level", "debug") == '[log]\nlevel = "debug"\n'
    assert with_value("# x", "log", "level", "debug") == '# x\n\n[log]\nlevel = "debug"\n'
    assert with_value("[log]", "log", "level", "debug") == '[log]\nlevel = "debug"\n'


def test_removing() -> None:
    assert with_value(FILE, "pairing", "slots", None) == FILE.replace("slots = 3  # three at a time\n", "")
    assert with_value(FILE, "pairing", "tries", None) == FILE
    assert with_value(FILE, "fleet", "starts_per_s", None) == FILE


@pytest.mark.parametrize(
    "text",
    [
        "pairing = { slots = 3 }\n",
        "pairing.slots = 3\n",
        '[log]\nlevel = """\n[pairing]\nslots = 3\n"""\n',
        "[pairing]\nslots = 3\nslots = 4\n",
        "[pairing\n",
        "pairing = 4\n",
    ],
)
def test_what_cannot_be_changed_safely_is_refused(text: str) -> None:
    with pytest.raises(EditError):
        with_value(text, "pairing", "slots", 5)


_VALUES = st.one_of(
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20),
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=8), max_size=3),
)


@given(
    st.sampled_from(["pairing", "alerts", "log", "fleet"]),
    st.sampled_from(["slots", "urls", "webhook_url", "level", "other"]),
    _VALUES,
)
def test_exactly_one_value_changes(section: str, key: str, value: Any) -> None:
    before = tomllib.loads(FILE)
    changed = with_value(FILE, section, key, value)
    before.setdefault(section, {})[key] = value
    assert tomllib.loads(changed) == before
    for line in FILE.splitlines():
        if line.startswith("#"):
            assert line in changed


def test_the_file_is_replaced_in_one_step_and_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "amda.toml"
    replace_file(file, "a = 1\n")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    inode = file.stat().st_ino
    replace_file(file, "a = 2\n")
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("a = 2\n", 0o640)
    assert file.stat().st_ino != inode
    assert os.listdir(tmp_path) == ["amda.toml"]  # noqa: PTH208 - hidden ones too
