"""Films: read, paint and write them, with strokes that stay on things."""
