"""The libraries of the page, fetched by npm when the folder is built, and kept in the cache."""

import base64
import gzip
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from stylecore.errors import StylecoreError
from stylecore.files import default_cache, write_whole


@dataclass(frozen=True)
class Package:
    """A package of npm.

    Attributes:
        name: with the version.
        sha512: of npm's archive, as npm writes it.
        folder: of the page, for its files.
        files: paths in the archive. Binaries (.wasm) are stored compressed: 14 MB become 4, and 27 become 7.
    """

    name: str
    sha512: str
    folder: str
    files: tuple[str, ...]


PACKAGES = (
    Package(
        "onnxruntime-web@1.30.0",
        "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
        "ort",
        (
            "dist/ort.wasm.min.mjs",
            "dist/ort.webgpu.min.mjs",
            "dist/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm",
            "dist/ort-wasm-simd-threaded.asyncify.mjs",  # with WebGPU
            "dist/ort-wasm-simd-threaded.asyncify.wasm",
        ),
    ),
    Package(
        "mediabunny@1.61.0",
        "WciPOYwKZwgYkoBKcEK6JzzIf+w5whypPzFdOihOylZ/5Qv19FmNfRnTcaprH+jD136YpEASU30Eb6VNCJiz3A==",
        "media",
        ("dist/bundles/mediabunny.min.mjs", "LICENSE"),
    ),
)


def write_runtime(folder: Path) -> None:
    """Write the libraries' files into the page's folder.

    Raises:
        StylecoreError: when a package is not in the cache and cannot be fetched, or is not the expected one.
    """
    for package in PACKAGES:
        (folder / package.folder).mkdir()
        with tarfile.open(_archive(package)) as archive:
            for path in package.files:
                file = archive.extractfile(f"package/{path}")
                assert file is not None
                content, target = file.read(), folder / package.folder / PurePosixPath(path).name
                if target.suffix == ".wasm":
                    content = gzip.compress(content, compresslevel=6, mtime=0)
                    target = target.with_name(f"{target.name}.gz")
                target.write_bytes(content)


def _archive(package: Package) -> Path:
    file = default_cache() / "npm" / (package.name.replace("@", "-") + ".tgz")
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, _fetch(package))
    if base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode() != package.sha512:
        file.unlink()
        raise StylecoreError(f"npm's archive of {package.name} is not the expected one and is removed; try again.")
    return file


def _fetch(package: Package) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise StylecoreError(f"{package.name} is fetched by npm, which is not installed; install Node.js.")
    with tempfile.TemporaryDirectory() as work:
        try:
            done = subprocess.run(
                [npm, "pack", package.name, "--silent", "--pack-destination", work],
                cwd=work, capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise StylecoreError(f"npm did not fetch {package.name} within 5 minutes; check the network.") from error
        files = list(Path(work).glob("*.tgz"))
        if done.returncode or not files:
            said = next((line for line in done.stderr.splitlines() if line.strip()), "it gave no reason")
            raise StylecoreError(f"npm cannot fetch {package.name} ({said.strip()}); check the network.")
        return files[0].read_bytes()
