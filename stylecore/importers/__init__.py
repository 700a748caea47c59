"""Networks that other projects published, as style files."""
