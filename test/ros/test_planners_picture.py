"""scripts/planners_picture.py ends with a sentence if its picture cannot be drawn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ros
SCRIPT = Path(__file__).parents[2] / "scripts" / "planners_picture.py"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["picture.gif"], "expected a name that ends with .jpg or .png"),
        (["none/picture.png"], "There is no folder none for the picture"),
        (["picture.png", "--scene", "nosuch"], "ended with status 1; see its log"),
    ],
)
def test_what_cannot_be_drawn_ends_with_a_sentence(
    words: list[str], said: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=55,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert said in done.stderr and "Traceback" not in done.stderr, done.stderr
    # A wrong name of the picture is refused before anything starts, which would write to the log.
    assert "--scene" in words or done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
