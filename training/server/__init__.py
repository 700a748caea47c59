"""The tracker: an MLflow server for several machines, set up from one environment file."""
