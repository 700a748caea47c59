"""`python -m stylecore.patterns` is `python -m stylecore patterns`."""

import sys

from stylecore.__main__ import main

sys.exit(main(["patterns", *sys.argv[1:]]))
