"""The memory of the page's process after many large photos, with and without `demo.server.memory`.

python tests/benchmarks/page_memory.py [--photos 40] [--as-it-comes]
"""

import argparse
import resource
import sys
import tempfile
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from demo.server.memory import return_freed_memory  # noqa: E402
from demo.services.limits import Limits  # noqa: E402
from demo.services.registry_catalogue import RegistryCatalogue  # noqa: E402
from demo.services.stylize import Stylizer  # noqa: E402


def gigabytes_now() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=40, help="photos of 3 to 24 megapixels, one after the other")
    parser.add_argument("--as-it-comes", action="store_true", help="leave glibc's settings alone")
    options = parser.parse_args()
    if not options.as_it_comes:
        return_freed_memory()
    limits = Limits()
    catalogue = RegistryCatalogue(None)
    stylizer = Stylizer(catalogue, limits)
    names = [style.name for style in catalogue.styles()]
    random = np.random.default_rng(0)
    print(f"at the start: {gigabytes_now():.2f} GB")
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.photos):
            width, height = int(random.integers(2000, 6000)), int(random.integers(1500, 4000))
            small = random.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8)
            file = Path(folder) / f"{number}.jpg"
            Image.fromarray(small).resize((width, height)).save(file)
            style = names[number % len(names)]
            stylizer.stylize(file, style, longest_side=limits.stylize_max_side).finish(0.8, keep_colors=True)
            if number % 10 == 9:
                print(f"after {number + 1} photos: {gigabytes_now():.2f} GB", flush=True)
    print(f"at most: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
