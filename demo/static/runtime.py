"""onnxruntime-web, fetched by npm when the folder is built, and kept in the cache."""

import base64
import gzip
import hashlib
import shutil
import subprocess
import tarfile
from pathlib import Path

from stylecore.errors import StylecoreError
from stylecore.files import default_cache, write_whole

PACKAGE = "onnxruntime-web@1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of npm's archive, as npm writes it."""

MODULES = (
    "ort.wasm.min.mjs",
    "ort.webgpu.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.asyncify.mjs",
)
BINARIES = ("ort-wasm-simd-threaded.wasm", "ort-wasm-simd-threaded.asyncify.wasm")
"""One without WebGPU, and a larger one with it. They are stored compressed: 14 MB become 4, and 27 become 7."""


def write_runtime(folder: Path) -> None:
    """Write the modules and the compressed binaries into a folder.

    Raises:
        StylecoreError: when the package is not in the cache and cannot be fetched, or is not the expected one.
    """
    folder.mkdir(parents=True)
    with tarfile.open(_archive()) as archive:
        for name in (*MODULES, *BINARIES):
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None
            content = file.read()
            if name in BINARIES:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            else:
                (folder / name).write_bytes(content)


def _archive() -> Path:
    file = default_cache() / "npm" / (PACKAGE.replace("@", "-") + ".tgz")
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, _fetch(file.parent))
    if _digest(file.read_bytes()) != SHA512:
        file.unlink()
        raise StylecoreError(f"{PACKAGE} in the cache was damaged and is removed; try again.")
    return file


def _fetch(folder: Path) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise StylecoreError(f"{PACKAGE} is fetched by npm, which is not installed; install Node.js, which brings it.")
    work = folder / "fetched"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        done = subprocess.run(
            [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(work)],
            cwd=work, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        files = list(work.glob("*.tgz"))
        if done.returncode or not files:
            said = next((line for line in done.stderr.splitlines() if line.strip()), "it gave no reason")
            raise StylecoreError(f"npm cannot fetch {PACKAGE} ({said.strip()}); check the network.")
        content = files[0].read_bytes()
    except subprocess.TimeoutExpired as error:
        raise StylecoreError(f"npm did not fetch {PACKAGE} within 5 minutes; check the network.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    if _digest(content) != SHA512:
        raise StylecoreError(f"npm brought another {PACKAGE} than the one that is expected; check npm's registry.")
    return content


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha512(content).digest()).decode()
