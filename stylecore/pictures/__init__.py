"""Picture files: read, written, and what they carry beside their pixels."""
