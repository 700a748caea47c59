"""Write the folder of a Hugging Face Space that serves this page, and upload it.

    python -m demo.deploy user/name              # uploads, and prints the address
    python -m demo.deploy user/name --dry-run    # writes build/space, uploads nothing

The folder needs nothing but its requirements.txt to run: the packages `stylecore` and `demo`, every registered version
of the styles as a bundle, the features of VGG-19, the sample photos.
"""

import argparse
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, SpaceHardware, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from stylecore.command import run_command
from stylecore.errors import StylecoreError
from stylecore.files import replaced_folder
from stylecore.samples import sample_photos
from stylecore.vgg.weights import write_weights
from training.registry.bundle import write_bundle
from training.registry.published import commit_of_the_code
from training.registry.registry import Registry
from training.registry.restoring import restore_published

REPOSITORY = Path(__file__).resolve().parent.parent
TEMPLATES = REPOSITORY / "demo" / "space"
FOLDER = REPOSITORY / "build" / "space"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"

VARIABLES = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1", "STYLECORE_BUNDLE": "bundle"}
"""Of the Space: shown in its settings, where its owner, or whoever duplicates it, may change them."""

LEFT_OUT = {
    "demo": {"deploy.py", "space", "static"},
    "training": {"experiments", "recipes", "report", "server", "slurm.sh"},
}
"""Of each folder, what a Space does without."""
TEACHING = ("accelerate", "filelock", "PyYAML", "tqdm")
"""The packages for teaching, without MLflow."""

_HOW_TO_LOG_IN = (
    "make one that may write at https://huggingface.co/settings/tokens and set HF_TOKEN, or `hf auth login`"
)


def write_space(
    folder: Path = FOLDER, *, hardware: str = "cpu-basic", tracking_uri: str | None = None, teach: bool = False
) -> Path:
    """Write the Space's folder, whole or not at all, in place of what an earlier call wrote; returns it.

    Args:
        folder: where to.
        hardware: decides which build of PyTorch is asked for: on a CPU the small one, on ZeroGPU none, because it
            brings its own, elsewhere PyPI's with CUDA.
        tracking_uri: the MLflow store.
        teach: with what the tab Your style needs.

    Raises:
        StylecoreError: when the registry has no style, VGG's weights are not to be had, or `folder` holds something
            else.
    """
    folder = folder.absolute()
    with new_folder(folder, "app.py", "Space") as new:
        pins = _pins(REPOSITORY / "requirements.txt")
        for file in (TEMPLATES / "README.md", TEMPLATES / "app.py", REPOSITORY / "LICENSE"):
            shutil.copyfile(file, new / file.name)
        commit = f"from commit {commit_of_the_code()}"
        fill(new / "README.md", sdk_version=pins["gradio"], hardware=hardware, commit=commit)
        (new / "requirements.txt").write_text(_requirements(pins, hardware, teach), encoding="utf-8")
        for package in ("stylecore", "demo", "training") if teach else ("stylecore", "demo"):
            shutil.copytree(REPOSITORY / package, new / package, ignore=_left_out)
        restore_published(tracking_uri=tracking_uri)
        write_bundle(Registry(tracking_uri), new / "bundle", all_versions=True)
        # 16 teaches, 19 finds the nearest painting and paints.
        for network in ("vgg16", "vgg19") if teach else ("vgg19",):
            write_weights(network, new / "cache")
        (new / "photos").mkdir()
        for name, photo in sample_photos().items():
            shutil.copyfile(photo, new / "photos" / f"{name}.jpg")
    return folder


@contextmanager
def new_folder(folder: Path, mark: str, what: str) -> Iterator[Path]:
    """An empty folder, which the block fills and which then replaces what an earlier call wrote to `folder`.

    Args:
        mark: the file that says that a folder is of this kind.
        what: the kind is called.

    Raises:
        StylecoreError: when `folder` holds something else, or cannot be written.
    """
    if folder.exists() and not (folder / mark).is_file() and (folder.is_file() or any(folder.iterdir())):
        raise StylecoreError(f"{folder} exists and is no {what}; give an empty folder, or remove it yourself.")
    try:
        with replaced_folder(folder) as new:
            yield new
    except OSError as error:
        raise StylecoreError(f"{folder} cannot be written: {error.strerror or error}.") from error


def fill(file: Path, **values: str) -> None:
    """Replace each {key} in a text file by its value."""
    text = file.read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    file.write_text(text, encoding="utf-8")


def _left_out(folder: str, names: list[str]) -> set[str]:
    here = LEFT_OUT.get(Path(folder).relative_to(REPOSITORY).as_posix(), set())
    return {name for name in names if name.startswith(".") or name == "__pycache__" or name in here}


def _pins(requirements: Path) -> dict[str, str]:
    """Package to version, of the lines `package==version`."""
    found = re.findall(r"(?m)^([A-Za-z0-9_.-]+)==(\S+)", requirements.read_text(encoding="utf-8"))
    return dict(found)


def _requirements(pins: dict[str, str], hardware: str, teach: bool = False) -> str:
    names = [line for line in (TEMPLATES / "requirements.txt").read_text().split("\n") if line and line[0] != "#"]
    names += TEACHING if teach else ()
    if hardware.startswith("zero"):
        return "# PyTorch is ZeroGPU's own.\n" + "".join(f"{n}=={pins[n]}\n" for n in names if n != "torch")
    # No "+cpu" in the version: pip prefers the CPU build where there is one, and takes PyPI's where there is none.
    index = f"--extra-index-url {CPU_WHEELS}\n" if hardware.startswith("cpu") else ""
    return index + "".join(f"{name}=={pins[name]}\n" for name in names)


def logged_in() -> HfApi:
    """The hub, with a token that it knows: of HF_TOKEN, or of its own login.

    Raises:
        StylecoreError: when there is none, the hub refuses it, or does not answer.
    """
    token = get_token()
    if token is None:
        raise StylecoreError(f"uploading needs a token of the Hugging Face Hub; {_HOW_TO_LOG_IN}.")
    hub = HfApi(token=token)
    ask("logging in", hub.whoami)
    return hub


def upload_space(
    hub: HfApi, name: str, folder: Path, *, kind: str = "gradio", hardware: str = "cpu-basic", private: bool = False
) -> str:
    """Make the Space like the folder: files that are not there are removed from it. Returns its address.

    One that exists keeps its hardware and who may see it.

    Args:
        kind: gradio or static.

    Raises:
        StylecoreError: when the hub refuses something or does not answer.
    """
    url = ask(
        f"creating {name}",
        hub.create_repo,
        name,
        repo_type="space",
        space_sdk=kind,
        exist_ok=True,
        private=private or None,
        space_hardware=None if hardware == "cpu-basic" else SpaceHardware(hardware),
    )
    if kind == "gradio":
        known = ask(f"reading the variables of {name}", hub.get_space_variables, name)
        for key, value in VARIABLES.items():
            if key not in known or known[key].value != value:  # each one that is set restarts the Space
                ask(f"setting {key}", hub.add_space_variable, name, key, value)
    ask(
        f"uploading to {name}",
        hub.upload_folder,
        repo_id=name,
        repo_type="space",
        folder_path=folder,
        delete_patterns="*",
        commit_message=f"Deploy {commit_of_the_code()}",
    )
    return str(url)


def ask(doing: str, request: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        return request(*arguments, **named)
    except OfflineModeIsEnabled as error:
        raise StylecoreError(f"{doing} failed: HF_HUB_OFFLINE is set; unset it.") from error
    except HfHubHTTPError as error:
        raise StylecoreError(f"{doing} failed: {_answer(error)}.") from error
    except (httpx2.HTTPError, OSError) as error:
        raise StylecoreError(
            f"{doing} failed: {constants.ENDPOINT} does not answer ({error}); check the network, or try again later."
        ) from error
    except ValueError as error:  # front matter that the hub does not accept
        raise StylecoreError(f"{doing} failed: {' '.join(str(error).split()).rstrip('.')}.") from error


def _answer(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    said = " ".join((error.server_message or "").split()).rstrip(".") or error.response.reason_phrase
    if status == 401:
        return f"the hub refuses the token; {_HOW_TO_LOG_IN}"
    if status == 402:
        return f"the hub asks for a paid plan or for other hardware, for example --hardware zero-a10g ({said})"
    if status == 403:
        return f"the token may not do this; take one that may write to that account ({said})"
    return f"the hub answers {status} ({said})"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status (2 for what the user can mend, after one sentence on stderr)."""
    return run_command(_deploy, _parser().parse_args(arguments))


def _deploy(options: argparse.Namespace) -> None:
    hub = hub_for(options)
    folder = write_space(
        options.folder, hardware=options.hardware, tracking_uri=options.tracking_uri, teach=options.teach
    )
    show_and_upload(folder, hub, options, hardware=options.hardware)


def hub_for(options: argparse.Namespace) -> HfApi | None:
    """The hub to upload to; None without a name, and in a dry run. `make` gives an empty name for none."""
    if options.name == "" and not options.dry_run:
        raise StylecoreError("which Space? Add SPACE=user/name, or DRY_RUN=1 to see what would be in it.")
    if options.name and not re.fullmatch(r"[\w.-]+/[\w.-]+", options.name):
        raise StylecoreError(f"{options.name!r} does not name a Space; write user/name or organization/name.")
    return logged_in() if options.name and not options.dry_run else None


def show_and_upload(folder: Path, hub: HfApi | None, options: argparse.Namespace, **wanted: str) -> None:
    """Say what was written, and upload it, as `upload_space`, if there is a hub."""
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    print(f"Written to {folder}: {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB", flush=True)
    if hub is None:
        print("Nothing was uploaded.")
    else:
        print(upload_space(hub, options.name, folder, private=options.private, **wanted))


def add_flags(parser: argparse.ArgumentParser, folder: Path) -> None:
    """What both commands are given; `folder` is the default."""
    parser.add_argument("name", nargs="?", metavar="USER/NAME", help="of the Space; it is made when there is none")
    parser.add_argument("--dry-run", action="store_true", help="write the folder, upload nothing")
    parser.add_argument("--private", action="store_true", help="a new Space is seen by its owner alone")
    parser.add_argument(
        "--folder", type=Path, default=folder, help=f"where it is written (default: build/{folder.name})"
    )
    parser.add_argument(
        "--tracking-uri", metavar="URI", help="the MLflow store (default: $MLFLOW_TRACKING_URI, else mlruns/mlflow.db)"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.deploy", description="Serve the page on a Space.")
    add_flags(parser, FOLDER)
    parser.set_defaults(name="")  # without a name this command refuses; that of the static page only writes
    parser.add_argument(
        "--hardware",
        default="cpu-basic",
        choices=[hardware.value for hardware in SpaceHardware],
        metavar="NAME",
        help="what it is meant for, cpu-basic (the default), zero-a10g, t4-small, ...: decides the build of PyTorch, "
        "and what a new Space gets; one that exists keeps what it has",
    )
    parser.add_argument(
        "--teach", action="store_true", help="with the tab Your style, for which it gets training and VGG-16's weights"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
