"""What goes wrong between a run and its store."""


class TrackingError(Exception):
    """One sentence for the user: what is wrong, and what to do."""
