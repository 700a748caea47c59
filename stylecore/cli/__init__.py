"""The commands of `python -m stylecore`, one module each: `add_arguments(parser)` and `run(options)`.

They import what they run with inside `run`, so that `--help` and mistakes in flags answer at once.
"""
