"""A catalogue's styles together with those that visitors taught."""

from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from demo.services.catalogue import Catalogue, StyleEntry, VersionEntry, VersionRecord
from demo.services.teach.lessons import Lesson
from demo.services.teach.teacher import Teacher
from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import StyleModel, read_card
from stylecore.library import CHAMPION, VISITORS

VERSION = "1"


class TaughtCatalogue(Catalogue):
    """The styles of `others` and of the teacher.

    What is taught is served from the lessons' files. The registry has it as well, and its catalogue leaves it out.
    """

    def __init__(self, others: Catalogue, teacher: Teacher) -> None:
        self._others, self._teacher = others, teacher
        super().__init__()
        self._card_in = lru_cache(read_card)

    @property
    def loading(self) -> str:  # type: ignore[override]  # nobody sets it here
        return self._others.loading

    def _entries(self) -> list[StyleEntry]:
        entries = list(self._others._entries())
        self.notice = self._others.notice
        for lesson in self._teacher.taught():
            with suppress(StylecoreError):  # just removed
                card = self._card_in(self._teacher.files.style(lesson))
                entries.append(StyleEntry(lesson.style, lesson.title, (VERSION,), {CHAMPION: VERSION}, card))
        return entries

    def _is_shown(self, name: str, owner: str = "") -> bool:
        lesson = self._lesson(name)
        return lesson is None or self._teacher.for_all or bool(owner and lesson.owner == owner)

    def _lesson(self, name: str) -> Lesson | None:
        if not name.startswith(VISITORS):
            return None
        return next((lesson for lesson in self._teacher.taught() if lesson.style == name), None)

    def _version(self, name: str, version: str) -> VersionEntry:
        if lesson := self._lesson(name):
            return VersionEntry(name, version, self._card_in(self._teacher.files.style(lesson)))
        return self._others._version(name, version)

    def _record(self, name: str, version: str) -> VersionRecord:
        if lesson := self._lesson(name):
            return VersionRecord(page=self._teacher.run_page(lesson))
        return self._others._record(name, version)

    def _painting_of(self, name: str, version: str) -> Path | None:
        if lesson := self._lesson(name):
            return self._teacher.files.of(lesson) / "painting.png"
        return self._others._painting_of(name, version)

    def _load(self, name: str, version: str) -> StyleModel:
        if lesson := self._lesson(name):
            return StyleModel.load(self._teacher.files.style(lesson))
        return self._others._load(name, version)
