"""The page on a Space, and anywhere else by `python app.py`: what it needs is in this folder, nothing is fetched."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
for folder in ("bundle", "cache", "photos"):
    os.environ.setdefault(f"STYLECORE_{folder.upper()}", str(HERE / folder))

import demo.services.zero_gpu  # noqa: E402, F401 - `spaces` wants to be imported before anything that may ask for a GPU
from demo.app import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(["--teach", *sys.argv[1:]] if (HERE / "training").is_dir() else None))
