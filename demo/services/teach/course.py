"""The process that teaches, `python -m training.teach` in a lesson's folder; its standard input tells it to end."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from demo.services.teach.lessons import Lesson

REPOSITORY = Path(__file__).resolve().parents[3]
COMMAND = (sys.executable, "-m", "training.teach")
POLITENESS = 5
"""How much lower than the page's the process's priority is."""
FORMER_SECONDS = 60.0
"""So long a process of an earlier server may take to save its state."""
END_SECONDS = 30.0
"""So long a process may take to save its state at the server's end."""


@dataclass
class Course:
    """A running process of training."""

    process: subprocess.Popen[bytes]

    @classmethod
    def begin(
        cls, lesson: Lesson, folder: Path, *, flags: Sequence[str] = (), environment: Mapping[str, str] | None = None
    ) -> "Course":
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
        variables = dict(os.environ) | {"PYTHONPATH": folders} | dict(environment or {})
        with (folder / "output.txt").open("ab") as output:
            process = subprocess.Popen(
                [*words, "--stdin", *flags],
                cwd=folder,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (folder / "process").write_text(str(process.pid))
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, process.pid, POLITENESS)
        return cls(process)

    def enough(self) -> None:
        """Let it end soon, and keep what it learned."""
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.write(b"enough\n")
            self.process.stdin.flush()

    def stop(self) -> None:
        """Let it save its state and exit."""
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()

    def wait(self, seconds: float) -> int | None:
        """Its exit status, or None if it still runs after so long."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()


def _wait_for_former(file: Path) -> None:
    """Wait until the process of an earlier server, which ends by itself, is gone."""
    with suppress(OSError, ValueError):
        former = int(file.read_text())
        deadline = time.monotonic() + FORMER_SECONDS
        while time.monotonic() < deadline:
            os.kill(former, 0)
            time.sleep(0.2)
