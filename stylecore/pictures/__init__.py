"""Picture files: reading, writing, and their metadata."""
