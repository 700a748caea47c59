"""Logging of trainings to MLflow: records are first written to a journal on the disk, and a thread sends them."""


class TrackingError(Exception):
    """One sentence for the user: what is wrong between a run and its store, and what to do."""
