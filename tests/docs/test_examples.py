"""What the README and the docs tell people to type works, and does what it says.

Each `$ tidemill …` line of a console block runs as it stands, in a folder with small example files,
against a demo business; each Python block and each notebook runs as it stands, too. Commands run in
this process: that there is a program, and that it starts, `tests/acceptance` looks at.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import TEST_SETTINGS
from tests.support.cli import Inside
from tidemill.embedded import EmbeddedServer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/start/*.md"))]
PAGES += sorted(ROOT.glob("docs/how-to/*.md"))
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
_BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Commands that never end, need another server, or are run by other tests.
_NOT_HERE = (
    *("tidemill serve", "tidemill demo", "tidemill worker", "tidemill migrate"),
    *("tidemill sync", "tidemill reconcile"),
)
# The demo business ends yesterday, and what its customers are called depends on the day.
_CUSTOMER = re.compile(r"\bcus_\w+")
_WRITING = ("tidemill import", "tidemill quarantine")
# A replay that changes nothing says by its exit code that something is still in quarantine.
_ENDS = {"tidemill quarantine replay": {0, 1}}

_EVENT = {
    "source": "acme", "type": "customer.created", "occurred_at": "2026-01-01T00:00:00Z",
    "customer": "c1", "data": {"id": "c1", "name": "First Customer"},
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A folder with example files, and an environment in which the demo business exists."""

    folder: Path
    environment: Mapping[str, str]
    inside: Inside

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command there; what it printed and how it ended."""
        return subprocess.run(
            command,
            cwd=self.folder,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def _examples(language: str) -> Iterator[object]:
    """Every example once, under the page that has it first."""
    seen = set()
    for page in PAGES:
        blocks = _BLOCK.findall(page.read_text(encoding="utf-8"))
        for place, (kind, block) in enumerate(blocks, start=1):
            where = page.relative_to(ROOT).as_posix()
            if kind == language == "python":
                yield pytest.param(block, id=f"{where}: block {place}")
            elif kind == language and "$ export" not in block:
                for line in re.findall(r"^\$ (tidemill .*)$", block, re.MULTILINE):
                    if line not in seen and not line.startswith(_NOT_HERE):
                        seen.add(line)
                        yield pytest.param(line, id=f"{where}: {line}")


def _place(folder: Path) -> Place:
    """An empty store, and the files that the docs mention."""
    clean = {name: text for name, text in os.environ.items() if "TIDEMILL" not in name}
    clean.pop("DATABASE_URL", None)
    programs = str(Path(sys.executable).parent)
    environment = clean | {
        "TIDEMILL_DATA_DIR": str(folder / "data"),
        "PATH": f"{programs}{os.pathsep}{clean.get('PATH', '')}",
        "COLUMNS": "120",
    }
    good = json.dumps(_EVENT)
    (folder / "books.jsonl").write_text(f"{good}\n", encoding="utf-8")
    (folder / "events.jsonl").write_text("", encoding="utf-8")
    (folder / "bad.jsonl").write_text(f"{good}\nnot JSON\n", encoding="utf-8")
    settings = {"TIDEMILL_DATA_DIR": str(folder / "data"), "COLUMNS": "120"}
    return Place(folder, environment, Inside(folder, "", settings))


@contextmanager
def _served(folder: Path) -> Iterator[Place]:
    """A place whose server goes on between commands, so that not each of them starts its own."""
    with EmbeddedServer(folder / "data", settings=TEST_SETTINGS):
        yield _place(folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Where a small demo business can be asked about."""
    with _served(tmp_path_factory.mktemp("demo")) as place:
        made = place.run("tidemill", "demo", "--customers", "30", "--months", "12", "--no-serve")
        assert made.returncode == 0, made.stderr
        yield place


@pytest.fixture(scope="module")
def somebody(demo: Place) -> str:
    """A customer of the demo business."""
    listed = demo.inside.json("mrr", "--by", "customer")
    return str(listed["rows"][0]["customer"])


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Where events are imported, and one line has been refused."""
    with _served(tmp_path_factory.mktemp("desk")) as place:
        bad = place.inside.run("import", "events", "bad.jsonl")
        assert bad.returncode == 1, bad.stderr
        yield place


@pytest.mark.parametrize("line", list(_examples("console")))
def test_command(line: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue("desk" if line.startswith(_WRITING) else "demo")
    if _CUSTOMER.search(line):
        line = _CUSTOMER.sub(request.getfixturevalue("somebody"), line)
    done = place.inside.run(*shlex.split(line)[1:])
    assert done.returncode in _ENDS.get(line, {0}), f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("block", list(_examples("python")))
def test_python(demo: Place, block: str) -> None:
    done = demo.run(sys.executable, "-W", "error", "-c", block)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda each: each.name)
def test_notebook(demo: Place, notebook: Path) -> None:
    """Its cells run from the first to the last; what they show is not kept in the repository."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not [cell["id"] for cell in code if cell["outputs"]]
    program = "\n".join("".join(cell["source"]) for cell in code)
    done = demo.run(sys.executable, "-W", "error", "-c", program)
    assert done.returncode == 0, done.stderr
