"""Teaches visitors' paintings one after the other, and keeps the styles for a while."""

import dataclasses
import logging
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import torch
from filelock import FileLock, Timeout

from demo.services.limits import Limits
from demo.services.photos import read_photo
from demo.services.teach import course
from demo.services.teach.lessons import STYLE, Lesson, LessonFiles, new_lesson
from stylecore.errors import StylecoreError
from stylecore.gatys.memory import available_memory
from stylecore.inference.engine import Engine
from stylecore.johnson.quantization import sidecar_of
from stylecore.johnson.style_model import StyleModel
from stylecore.pictures.read import load_picture
from stylecore.pictures.write import encode_picture, save_picture

MOST_STARTS = 4
"""A lesson whose process ends so often without a style has failed."""
BESIDE_MINUTES = 20.0
"""So long the start and the evaluation may take beside the minutes of training."""
LOOK_SECONDS = 0.5
ORDER_SECONDS = 5.0
"""Between two looks for a lesson that another server was asked for."""
TEACHING = ".teaching"
"""The file that the server which teaches holds a lock on."""
ENOUGH = "enough"
"""The file in the folder of a run that is to end soon."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class View:
    """What a visitor sees of their lesson.

    Attributes:
        place: in the line: 0 for the one that learns, 1 for the next.
        phase, figures: as training/teach/progress.py writes them; "stopping" while it learns and is to end.
    """

    lesson: Lesson
    place: int
    phase: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Teacher:
    """Lessons on the disk, and one process that teaches. Safe to share between threads.

    Args:
        folder: of the lessons.
        limits: what one visitor may ask for.
        for_all: whether everybody sees the styles; else only who taught them, and who has their link.
        mlflow_page: address of MLflow's page, to link to runs; may be empty.
        flags: of train.py, for every lesson.
        environment: variables of the training, such as MLFLOW_TRACKING_URI.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        *,
        for_all: bool = False,
        mlflow_page: str = "",
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.for_all = for_all
        self.files = LessonFiles(folder)
        self._mlflow_page = mlflow_page
        self._flags, self._environment = tuple(flags), dict(environment or {})
        self._folder = folder
        self._lock = threading.RLock()
        self._painted: dict[str, tuple[float, bytes]] = {}
        self._painting = threading.Lock()
        self._closing = threading.Event()
        self._ordered = threading.Event()
        self._thread = threading.Thread(target=self._take_turns, name="teacher", daemon=True)

    def start(self) -> "Teacher":
        """Begin to teach, with what an earlier server left."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Let the running lesson save its state; the next server goes on with it."""
        self._closing.set()
        self._ordered.set()
        if self._thread.is_alive():
            self._thread.join(course.END_SECONDS + 5)

    def enqueue(self, owner: str, painting: str | None, photo: str | None, title: str, minutes: float) -> Lesson:
        """Put a lesson into the line.

        Args:
            owner: see `owner_of`.
            painting, photo: picture files; the photo is the one to watch it on.

        Raises:
            StylecoreError: for a missing or unreadable picture, minutes that are not offered, a second lesson of one
                visitor, a full line, or too little disk or memory.
        """
        limits = self.limits
        if not owner:
            raise StylecoreError("this browser keeps nothing, so it could not find your lesson again; allow storage.")
        if painting is None:
            raise StylecoreError("there is no painting yet; drop one.")
        if photo is None:
            raise StylecoreError("there is no photo to watch it on; drop one.")
        if minutes not in limits.lesson_minutes:
            offered = ", ".join(f"{each:g}" for each in limits.lesson_minutes)
            raise StylecoreError(f"a lesson takes {offered} minutes here, not {minutes!r}.")
        picture, watched = (
            read_photo(file, max_side=side, max_pixels=limits.photo_pixels, called=f"the file of the {what}")
            for what, file, side in (
                ("painting", painting, limits.lesson_painting_side),
                ("photo", photo, limits.lesson_photo_side),
            )
        )
        with self._lock:
            waiting = [lesson for lesson in self.files.all() if lesson.is_open]
            if any(lesson.owner == owner for lesson in waiting):
                raise StylecoreError("you are teaching a painting already; wait until it is learned, or end it.")
            if len(waiting) >= limits.lessons_waiting:
                raise StylecoreError(f"{len(waiting)} paintings are waiting to be learned already; try again later.")
            self._refuse_full_machine()
            lesson = self.files.write(new_lesson(owner, title, minutes))
            try:
                save_picture(picture.pixels, self.files.of(lesson) / "painting.png")
                save_picture(watched.pixels, self.files.of(lesson) / "photo.png")
            except BaseException:
                self.files.remove(lesson)
                raise
        self._ordered.set()
        return lesson

    def view(self, owner: str) -> View | None:
        """The newest lesson of a visitor; None if there is none."""
        with self._lock:
            lessons = self.files.all()
            lesson = next((each for each in reversed(lessons) if owner and each.owner == owner), None)
            if lesson is None:
                return None
            line = _line(lessons)
            place = line.index(lesson) if lesson in line else 0
            figures = self.files.figures(lesson)
        phase = str(figures.get("phase", "beginning")) if lesson.state == "learning" else lesson.state
        if lesson.state == "learning" and phase in ("done", "failed"):  # its process still ends
            phase = "finishing"
        if phase == "learning" and self._run(lesson).joinpath(ENOUGH).exists():
            phase = "stopping"
        return View(lesson, place, phase, figures)

    def picture(self, lesson: Lesson) -> bytes | None:
        """A JPEG of the visitor's photo as the network paints it now; None before there is a network."""
        file = self.files.network(lesson)
        with self._painting:
            try:
                written = file.stat().st_mtime
                if self._painted.get(lesson.id, (0.0, b""))[0] != written:
                    photo = load_picture(self.files.of(lesson) / "photo.png").pixels
                    painted = Engine(StyleModel.load(file), "cpu", runtime="torch").stylize(photo)
                    self._painted[lesson.id] = (written, encode_picture(painted, "JPEG"))
            except (OSError, StylecoreError):  # not there yet, or just being replaced
                pass
            return self._painted.get(lesson.id, (0.0, None))[1]

    def enough(self, owner: str) -> None:
        """End the visitor's lesson soon, and keep what was learned; one that waits is forgotten."""
        with self._lock:
            view = self.view(owner)
            if view is None or not view.lesson.is_open:
                return
            lesson = view.lesson
            if lesson.state == "waiting":
                self.files.remove(lesson)
                return
            self._run(lesson).mkdir(parents=True, exist_ok=True)
            (self._run(lesson) / ENOUGH).touch()

    def _run(self, lesson: Lesson) -> Path:
        return self.files.of(lesson) / "runs" / lesson.style

    def taught(self) -> list[Lesson]:
        """The lessons that are done."""
        with self._lock:
            return [lesson for lesson in self.files.all() if lesson.state == "done"]

    def run_page(self, lesson: Lesson) -> str:
        """Address of the lesson's run, if a page of MLflow is known."""
        if lesson.run_page.startswith("http") or not lesson.run_page:
            return lesson.run_page
        return f"{self._mlflow_page.rstrip('/')}/{lesson.run_page}" if self._mlflow_page else ""

    def _take_turns(self) -> None:
        """Of the servers on one folder of lessons one teaches, and the next one when it has ended."""
        while not self._closing.is_set():
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with FileLock(self._folder / TEACHING).acquire(timeout=0):
                    self._teach_all()
            except Timeout:
                self._closing.wait(LOOK_SECONDS)
            except OSError:
                _log.exception("Nothing can be taught in %s", self._folder)
                self._closing.wait(60.0)

    def _teach_all(self) -> None:
        while not self._closing.is_set():
            self._ordered.clear()
            line: list[Lesson] = []
            try:
                with self._lock:
                    self._forget_old()
                    line = _line(self.files.all())
                if line:
                    self._teach(line[0])
                    continue
            except Exception:  # without this thread nobody would be taught any more
                _log.exception("A lesson could not be taught")
                if line and line[0].starts >= MOST_STARTS:
                    self._fail(line[0], "it could not be taught here")
            self._ordered.wait(ORDER_SECONDS)

    def _teach(self, lesson: Lesson) -> None:
        with self._lock:
            lesson = self.files.write(dataclasses.replace(lesson, state="learning", starts=lesson.starts + 1))
        process = course.begin(lesson, self.files.of(lesson), self._flags, self._environment)
        deadline = time.monotonic() + (lesson.minutes + BESIDE_MINUTES) * 60
        while process.poll() is None and not self._closing.is_set() and time.monotonic() < deadline:
            with suppress(TimeoutExpired):
                process.wait(LOOK_SECONDS)
        status = process.returncode
        late = status is None and not self._closing.is_set()
        if status is None:
            course.stop(process)
        with self._lock:
            if status == 0:
                self._keep(lesson)
            elif late:
                self._fail(lesson, "it took too long here, and was ended")
            elif status is not None and (status == 2 or lesson.starts >= MOST_STARTS):
                reason = str(self.files.figures(lesson).get("reason") or "it was interrupted too often")
                self._fail(lesson, reason.replace("painting.png", "this picture"))
            # Else it goes on: at once after an interruption, by the next server after the end of this one.

    def _keep(self, lesson: Lesson) -> None:
        figures, folder = self.files.figures(lesson), self.files.of(lesson)
        network = Path(str(figures.get("file", "")))
        if not network.is_file() or not network.is_relative_to(folder.resolve()):
            self._fail(lesson, "it ended without a style")
            return
        shutil.move(network, folder / STYLE)
        if sidecar_of(network).is_file():
            shutil.move(sidecar_of(network), sidecar_of(folder / STYLE))
        shutil.rmtree(folder / "runs", ignore_errors=True)
        (folder / "progress" / "now.style").unlink(missing_ok=True)
        self.files.write(dataclasses.replace(lesson, state="done", run_page=str(figures.get("run_page", ""))))

    def _fail(self, lesson: Lesson, reason: str) -> None:
        shutil.rmtree(self.files.of(lesson) / "runs", ignore_errors=True)
        self.files.write(dataclasses.replace(lesson, state="failed", reason=reason))

    def _forget_old(self) -> None:
        oldest = time.time() - self.limits.lesson_hours * 3600
        for state in ("done", "failed"):  # apart, so that no style goes for lessons without one
            ended = [lesson for lesson in self.files.all() if lesson.state == state]
            surplus = max(0, len(ended) - self.limits.lessons_kept)
            for number, lesson in enumerate(ended):
                if number < surplus or (lesson.ordered < oldest and not self.for_all):
                    self.files.remove(lesson)
                    self._painted.pop(lesson.id, None)

    def _refuse_full_machine(self) -> None:
        there = next(each for each in (self._folder, *self._folder.absolute().parents) if each.exists())
        if shutil.disk_usage(there).free < self.limits.lesson_megabytes * 1e6:
            raise StylecoreError("the disk of this server is nearly full, so nothing can be taught now.")
        memory = available_memory(torch.device("cpu"))
        if memory is not None and memory < self.limits.lesson_memory_megabytes * 1e6:
            raise StylecoreError("this server has too little memory free to teach now; try again later.")


def _line(lessons: Sequence[Lesson]) -> list[Lesson]:
    """The open lessons in their order: first the one that learns."""
    return sorted((each for each in lessons if each.is_open), key=lambda each: each.state != "learning")
