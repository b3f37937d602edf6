"""Scripts, styles and fonts: pinned, built from the lock file, light, and none of them from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib
import re

import web

ROOT = pathlib.Path(__file__).parents[2]
VENDOR = web.STATIC_DIR / "vendor"
SCRIPTS_KB_MAX = 150  # all scripts but the editor, gzip


def test_lock_file_when_read_then_every_package_is_pinned_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    packages = {path: entry for path, entry in lock["packages"].items() if path}
    assert packages
    for path, entry in packages.items():
        assert entry["integrity"].startswith("sha512-"), path
        assert "resolved" not in entry, path
    wanted = json.loads((ROOT / "package.json").read_text())
    versions = [*wanted["dependencies"].values(), *wanted["devDependencies"].values()]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)


def test_vendor_when_built_then_its_manifest_lists_what_is_there() -> None:
    assert web.missing_assets() == (), "run: npm ci --ignore-scripts && npm run build"
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    there = {str(path.relative_to(VENDOR)) for path in VENDOR.rglob("*") if path.is_file()} - {
        "manifest.json"
    }
    assert set(manifest) == there
    for name, digest in manifest.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest, name


def test_scripts_when_packed_then_they_are_light() -> None:
    scripts = [path for path in web.STATIC_DIR.rglob("*.js") if path.name != "editor.js"]
    assert len(scripts) >= 5
    assert sum(len(gzip.compress(path.read_bytes())) for path in scripts) < SCRIPTS_KB_MAX * 1000


def test_own_sources_when_read_then_nothing_is_loaded_from_elsewhere_or_evaluated() -> None:
    for path in (*web.STATIC_DIR.glob("*"), *(ROOT / "web" / "assets").glob("*.js")):
        if path.suffix not in (".js", ".css"):
            continue
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org)", text), path.name
        for word in ("eval(", "new Function", "innerHTML", "insertAdjacentHTML", "document.write", "@import"):
            assert word not in text, f"{path.name}: {word}"


def test_asset_when_its_text_changes_then_its_address_does() -> None:
    digest = hashlib.sha256((web.STATIC_DIR / "app.css").read_bytes()).hexdigest()
    assert web.asset("app.css") == f"/static/app.css?v={digest[:12]}"
