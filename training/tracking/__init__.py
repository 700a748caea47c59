"""What a training tells MLflow: kept in a journal on the disk first, sent by a process of its own."""
