"""What a wrong setting is answered with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tidegate.errors import SettingsError
from tidegate.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('langing = "in"', "langing: There is no such setting. Is it landing?"),
        ("[folder]\nsettle = 1", "folder.settle: There is no such setting. Is it folder.settle_seconds?"),
        ("[foldr]\nsettle_seconds = 1", "foldr: There is no such setting. Is it folder?"),
        ("qqqqqq = 1", "qqqqqq: There is no such setting."),
        (
            "[folder]\nsettle_seconds = -1",
            "folder.settle_seconds: Input should be greater than or equal to 0",
        ),
        ("landing = ", "can't be read"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "tidegate.toml").write_text(text)
    with pytest.raises(SettingsError) as told:
        load_settings(tmp_path)
    assert said in str(told.value)
    assert str(tmp_path / "tidegate.toml") in str(told.value)


def test_a_variable_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tidegate.toml").write_text('landing = "in"\n[folder]\nsettle_seconds = 2\n')
    monkeypatch.setenv("TIDEGATE_FOLDER__SETTLE_SECONDS", "3")
    settings = load_settings(tmp_path)
    assert settings.folder.settle_seconds == 3
    assert settings.landing_dir == tmp_path / "in"
