"""The tab Film."""
