"""The laboratory: training a transformation network, and the record of its runs in MLflow."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read only during the import of mlflow
