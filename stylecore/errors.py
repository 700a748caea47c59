"""The exception for mistakes that the user can correct."""


class StylecoreError(Exception):
    """One sentence for the user: what is wrong with which file or flag, what is allowed, what to do.

    The command line prints it and exits with status 2; the page shows it as a message.
    """
