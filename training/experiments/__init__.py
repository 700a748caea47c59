"""Commands that train or measure many times, and compare."""
