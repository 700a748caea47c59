"""The report on the repeated experiment: `python -m training.report` (__main__.py)."""
