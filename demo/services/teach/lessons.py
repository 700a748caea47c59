"""A visitor's lesson as files, which outlive the server.

<folder>/<id>/
    lesson.json         the `Lesson`
    painting.png        the picture to learn; photo.png the visitor's photo to watch it on
    progress/           what the training shows while it goes on (training/teach/progress.py)
    runs/               its states and checkpoints, until it ends
    style.safetensors   the style, with style.int8.json beside it if it could be quantized
    output.txt          what the training printed
"""

import dataclasses
import hashlib
import json
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stylecore.errors import StylecoreError
from stylecore.files import write_whole
from stylecore.library import VISITORS

State = Literal["waiting", "learning", "done", "failed"]
STYLE = "style.safetensors"
_FILE = "lesson.json"


@dataclass(frozen=True)
class Lesson:
    """What one visitor asked for, and what came of it.

    Attributes:
        id: random, of 16 hexadecimal digits.
        owner: digest of the visitor's token; see `owner_of`.
        title: of the painting.
        minutes: of training.
        ordered: seconds since 1970.
        state: "learning" also after a restart, until it goes on.
        starts: of its training; more than one after interruptions.
        reason: why it failed.
        run_page: address of its run below MLflow's page; empty if it is not known.
    """

    id: str
    owner: str
    title: str
    minutes: float
    ordered: float
    state: State = "waiting"
    starts: int = 0
    reason: str = ""
    run_page: str = ""

    @property
    def style(self) -> str:
        """The style's name, which nobody can guess."""
        words = re.sub(r"[^A-Za-z0-9]+", "_", self.title).strip("_").lower()[:30]
        return f"{VISITORS}{words}_{self.id}" if words else f"{VISITORS}{self.id}"

    @property
    def is_open(self) -> bool:
        """Whether it waits or is under way."""
        return self.state in ("waiting", "learning")


def owner_of(token: str) -> str:
    """What is kept of a visitor's token: a digest, which opens nothing. Empty for no token."""
    return hashlib.sha256(token.encode()).hexdigest()[:32] if token else ""


def new_lesson(owner: str, title: str, minutes: float) -> Lesson:
    """A lesson with a random id. Of the title what can be printed is kept: no process takes a null character."""
    words = "".join(each if each.isprintable() else " " for each in title).split()
    return Lesson(secrets.token_hex(8), owner, " ".join(words)[:60] or "My painting", minutes, time.time())


class LessonFiles:
    """The lessons of a folder. Not safe to share between threads: the teacher has a lock.

    Args:
        folder: is made when the first lesson is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, lesson: Lesson) -> Path:
        """The folder of a lesson."""
        return self._folder / lesson.id

    def all(self) -> list[Lesson]:
        """Every lesson, the oldest first; what cannot be read is left out."""
        found = []
        for file in self._folder.glob(f"*/{_FILE}"):
            try:
                lesson = Lesson(**json.loads(file.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError):
                continue
            if re.fullmatch(r"[0-9a-f]{16}", lesson.id) and lesson.id == file.parent.name:
                found.append(lesson)
        return sorted(found, key=lambda lesson: (lesson.ordered, lesson.id))

    def write(self, lesson: Lesson) -> Lesson:
        """Keep a lesson as it is now.

        Raises:
            StylecoreError: when the disk does not take it.
        """
        try:
            self.of(lesson).mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StylecoreError(f"the lesson cannot be kept here ({error.strerror}); try again later.") from error
        write_whole(self.of(lesson) / _FILE, json.dumps(dataclasses.asdict(lesson), indent=2).encode())
        return lesson

    def remove(self, lesson: Lesson) -> None:
        """Delete all that is kept of a lesson here."""
        shutil.rmtree(self.of(lesson), ignore_errors=True)

    def figures(self, lesson: Lesson) -> dict[str, Any]:
        """What the training last wrote of itself; empty before."""
        try:
            found = json.loads((self.of(lesson) / "progress" / "progress.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def style(self, lesson: Lesson) -> Path:
        """The style's file; it is there when the lesson is done."""
        return self.of(lesson) / STYLE

    def network(self, lesson: Lesson) -> Path:
        """The network as it is: of a lesson that is done, its style."""
        return self.style(lesson) if lesson.state == "done" else self.of(lesson) / "progress" / "now.style"
