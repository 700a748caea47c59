"""The process that teaches, `python -m training.teach` in a lesson's folder; it stops when its input ends."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, STDOUT, Popen, TimeoutExpired

from demo.services.teach.lessons import Lesson

REPOSITORY = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-m", "training.teach")
POLITENESS = 5
"""How much lower than the page's the process's priority is."""
FORMER_SECONDS = 60.0
"""So long a process of an earlier server may take to save its state."""
END_SECONDS = 30.0
"""So long a process may take to save its state at the server's end."""


def begin(lesson: Lesson, folder: Path, flags: Sequence[str], environment: Mapping[str, str]) -> Popen[bytes]:
    """Start it, or let it go on from its saved state.

    Args:
        folder: of the lesson.
        flags: of train.py, besides.
        environment: variables, besides the server's.
    """
    _wait_for_former(folder / "process")
    words = [*COMMAND, "painting.png", "--minutes", f"{lesson.minutes:g}"]
    # With "=", a title that begins with "-" is no flag.
    words += ["--name", lesson.style, f"--title={lesson.title}", "--output-dir", "runs", "--progress", "progress"]
    folders = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    with (folder / "output.txt").open("ab") as output:
        process = Popen(
            [*words, "--stdin", *flags],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": folders, **environment},
            stdin=PIPE,
            stdout=output,
            stderr=STDOUT,
            start_new_session=True,
        )
    (folder / "process").write_text(str(process.pid))
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, POLITENESS)
    return process


def stop(process: Popen[bytes]) -> None:
    """Let it save its state and exit, or end it after `END_SECONDS`."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(END_SECONDS)
    except TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for_former(file: Path) -> None:
    """Wait until the process of an earlier server, which ends by itself, is gone."""
    with suppress(OSError, ValueError):
        former = int(file.read_text())
        deadline = time.monotonic() + FORMER_SECONDS
        while time.monotonic() < deadline:
            os.kill(former, 0)
            time.sleep(0.2)
