"""Libraries of the page are the published files, and travel with the package."""

import hashlib
from pathlib import Path

import pytest

import lacuna.reporting.report
from lacuna.reporting.report import assets
from tests.places import ROOT

FOLDER = Path(lacuna.reporting.report.__file__).parent / "assets"


@pytest.mark.parametrize("library", assets.LIBRARIES, ids=lambda library: library.name)
def test_a_library_is_the_published_file_with_its_licence(library: assets.Library) -> None:
    assert hashlib.sha256((FOLDER / library.file).read_bytes()).hexdigest() == library.sha256
    assert f'version="{library.version}"' in assets.asset(library.file) or library.version in assets.asset(library.file)
    assert "Redistribution and use in source and binary forms" in assets.asset(library.licence)


def test_no_file_is_there_that_no_page_carries() -> None:
    named = {*assets.OWN, *(file for library in assets.LIBRARIES for file in (library.file, library.licence))}
    assert {path.name for path in FOLDER.iterdir()} == named


def test_no_script_ends_its_element_or_names_a_source_map(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("page.js", *(library.file for library in assets.LIBRARIES)):
        assert "sourceMappingURL" not in assets.script_asset(name)
    monkeypatch.setattr(assets, "asset", lambda name: "var a = '</SCRIPT>'")
    with pytest.raises(ValueError, match="its own element"):
        assets.script_asset("page.js")


def test_another_script_or_style_is_another_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = assets.digest_of_assets()
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(assets, "_FOLDER", tmp_path)
    assert assets.digest_of_assets() == before
    (tmp_path / "page.css").write_text("body {}")
    assert assets.digest_of_assets() != before


def test_the_package_takes_them_along() -> None:
    assert '"lacuna.reporting.report" = ["assets/*"]' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
