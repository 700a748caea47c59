"""The commands of `python -m stylecore`, one module each: `add_arguments(parser)` and `run(options)`.

They import large modules inside `run`, so that `--help` and errors in flags are fast.
"""
