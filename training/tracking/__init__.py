"""What a training tells MLflow: kept in a journal on the disk first, sent by a process of its own."""


class TrackingError(Exception):
    """One sentence for the user: what is wrong between a run and its store, and what to do."""
