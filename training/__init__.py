"""The laboratory: training a transformation network, and the record of its runs in MLflow."""
