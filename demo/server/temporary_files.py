"""The page's own temporary folder: what visitors leave in it is gone within the hour.

Gradio's `delete_cache` forgets what was written for a visitor who left before the answer; this goes by age alone.
"""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylecore.errors import StylecoreError

PREFIX = "stylecore-page-"
SECONDS_KEPT = 50 * 60
SECONDS_BETWEEN_SWEEPS = 5 * 60


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder for uploads and results, which Gradio uses meanwhile; inside GRADIO_TEMP_DIR, if that is set.

    It bears the number of this process and is removed at the end; those of processes that were killed before they
    could remove theirs are removed now.

    Raises:
        StylecoreError: when it cannot be made.
    """
    given = os.environ.get("GRADIO_TEMP_DIR")
    parent = Path(given or tempfile.gettempdir())
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)).resolve()
    except OSError as error:
        raise StylecoreError(
            f"the folder {parent} cannot be written ({error.strerror}); set GRADIO_TEMP_DIR to one that can."
        ) from error
    _remove_left(parent, folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if given is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = given


def _remove_left(parent: Path, own: Path) -> None:
    for left in parent.glob(f"{PREFIX}*"):
        number = left.name.removeprefix(PREFIX).partition("-")[0]
        if left.name == own.name or not number.isdigit():
            continue
        # In a container the killed server often had the number that this one has.
        if int(number) == os.getpid() or not _is_running(int(number)):
            shutil.rmtree(left, ignore_errors=True)


def keep_tidy(folder: Path) -> None:
    """Sweep the folder now and then while the process lives. What lies in it already is the page's own and stays."""
    own = frozenset(path for path in folder.rglob("*") if path.is_file())

    def sweep_on() -> None:
        while folder.is_dir():
            time.sleep(SECONDS_BETWEEN_SWEEPS)
            sweep(folder, SECONDS_KEPT, own)

    threading.Thread(target=sweep_on, name="housekeeping", daemon=True).start()


def sweep(folder: Path, seconds_kept: float, own: frozenset[Path] = frozenset()) -> None:
    """Remove the files that were written or touched longer ago, but for `own`, and the folders left empty."""
    oldest = time.time() - seconds_kept
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before it
        try:
            if path.is_dir():
                if path.stat().st_mtime < oldest:
                    path.rmdir()
            elif path not in own and path.stat().st_mtime < oldest:
                path.unlink()
        except OSError:  # not empty, or gone meanwhile
            continue


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
