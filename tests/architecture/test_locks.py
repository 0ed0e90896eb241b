"""The locks hold what pyproject.toml asks for, by hash, and name no package index."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.architecture.source import ROOT

_NAME = re.compile(r"[\w.-]+")


def _declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = list(project["dependencies"])
    for extra in extras:
        asked += project["optional-dependencies"][extra]
    names = [match.group() for each in asked if (match := _NAME.match(each))]
    return {name.lower().replace("_", "-") for name in names}


def _locked(name: str) -> dict[str, str]:
    """Package → its version, with the lines of its hashes."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    return {entry.partition("==")[0]: entry.partition("==")[2] for entry in entries}


@pytest.mark.parametrize(("name", "extras"), [("base.txt", ()), ("dev.txt", ("dev",))])
def test_everything_declared_is_locked(name: str, extras: tuple[str, ...]) -> None:
    missing = _declared(*extras) - _locked(name).keys()
    assert not missing, f"run `make lock`: {sorted(missing)}"


@pytest.mark.parametrize("name", ["base.txt", "build.txt", "dev.txt"])
def test_every_lock_is_hashed(name: str) -> None:
    bare = [package for package, rest in _locked(name).items() if "--hash=sha256:" not in rest]
    assert not bare
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    assert not re.search(r"https?://|--(?:extra-)?index-url|--find-links", text)


def test_locks_agree() -> None:
    base, dev = _locked("base.txt"), _locked("dev.txt")
    differing = [name for name in base if _version(base[name]) != _version(dev.get(name, ""))]
    assert not differing, f"run `make lock`: {differing}"


def _version(entry: str) -> str:
    return entry.split(maxsplit=1)[0] if entry else ""
