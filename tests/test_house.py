"""The rules of the house itself: floors, sizes of rooms, and what is written at the door."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "tabletap").rglob("*.py"))
LINES_AT_MOST = 400


def test_an_import_only_points_down():
    linter = Path(sys.executable).with_name("lint-imports")
    ran = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "0 broken" in ran.stdout
    assert int(re.search(r"(\d+) kept", ran.stdout)[1]) >= 5, "contracts went missing"


def test_no_room_is_larger_than_one_can_look_over():
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in FILES}
    assert {path: size for path, size in sizes.items() if size > LINES_AT_MOST} == {}


@pytest.mark.parametrize("word", ["utils", "helpers", "manager", "misc", "common"])
def test_no_file_is_named_after_nothing(word):
    assert [path for path in FILES if word in path.stem] == []


def test_every_module_says_what_it_is_for():
    silent = [str(path) for path in FILES if not re.match(r'(#!.*\n)?r?"""', (ROOT / path).read_text() or '"""')]
    assert silent == []


def test_the_readme_mentions_every_target_of_the_makefile():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", "")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    readme = (ROOT / "README.md").read_text()
    assert "demo" in targets
    assert [target for target in targets if f"make {target}" not in readme] == []


def test_every_target_that_is_promised_exists():
    makefile = (ROOT / "Makefile").read_text()
    promised = set(re.findall(r"`?make ([a-z][a-z-]+)`?", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z][a-z-]+):", makefile, re.MULTILINE))
    assert promised <= targets
