"""How a command ends: by its exit status, and one sentence."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stylecore.errors import StylecoreError
from stylecore.files import replaced_whole
from training.command import run_command
from training.tracking import TrackingError


def mistaken(options: argparse.Namespace) -> None:
    raise StylecoreError("there is no photo.")


def untracked(options: argparse.Namespace) -> None:
    raise TrackingError("the server does not answer.")


def interrupted(options: argparse.Namespace) -> None:
    raise KeyboardInterrupt


def allocating(options: argparse.Namespace) -> None:
    torch.empty(2**60, dtype=torch.uint8)


def too_large(options: argparse.Namespace) -> None:
    raise MemoryError


def ended(options: argparse.Namespace) -> None:
    with replaced_whole(options.file) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()


def unread(options: argparse.Namespace) -> None:
    raise BrokenPipeError


@pytest.mark.parametrize(
    ("run", "status", "said"),
    [
        (lambda options: None, 0, ""),
        (mistaken, 2, "error: there is no photo.\n"),
        (untracked, 2, "error: the server does not answer.\n"),
        (
            lambda options: Path("/proc/there/is/none").mkdir(),
            2,
            "error: /proc/there/is/none: No such file or directory.\n",
        ),
        (interrupted, 130, "error: interrupted\n"),
        (unread, 1, ""),
        (allocating, 2, "error: there is not enough memory; use smaller pictures.\n"),
        (too_large, 2, "error: there is not enough memory; use smaller pictures.\n"),
    ],
)
def test_a_command_ends_with_its_status_and_one_sentence(
    run: Callable[[argparse.Namespace], None], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(run, argparse.Namespace()) == status
    assert capsys.readouterr() == ("", said)


def test_a_mistake_of_the_program_shows_where_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda options: 1 // 0, argparse.Namespace())


def test_a_command_that_is_ended_leaves_nothing_half_written(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        run_command(ended, argparse.Namespace(file=tmp_path / "film.mp4"))
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_error_of_pytorch_is_a_defect_and_no_sentence() -> None:
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        run_command(lambda options: torch.ones(2) @ torch.ones(3), argparse.Namespace())


def test_letters_that_standard_output_cannot_write_are_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
    assert run_command(lambda _: print("Café", flush=True), argparse.Namespace()) == 0
    assert written.getvalue() == b"Caf\\xe9\n"
