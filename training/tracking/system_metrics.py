"""Use of processor, memory and GPU while a run goes on."""

import logging
import threading
from collections.abc import Callable

from mlflow.exceptions import MlflowException

from training.tracking.record import milliseconds, plain_numbers

_log = logging.getLogger(__name__)


class SystemMetrics:
    """Samples what MLflow's own monitor does, at its pace, but tells it to the journal: MLflow's would end for good
    when its server is away once."""

    def __init__(self, say: Callable[..., None], first_step: int) -> None:
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        logging.getLogger("mlflow.system_metrics").setLevel(logging.ERROR)  # it tells of GPUs that there are not
        self._monitor = SystemMetricsMonitor("")  # never started: only its meters are used
        self._say, self._step = say, first_step
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="system-metrics", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        self._ended.set()
        self._thread.join(1.0)

    def _sample(self) -> None:
        monitor = self._monitor
        prefix = "system/" + (f"{monitor.node_id}/" if monitor.node_id else "")
        while True:
            for _ in range(monitor.samples_before_logging):
                try:
                    monitor.collect_metrics()
                except Exception as error:  # a driver that is going away
                    _log.warning("System metrics are no longer sampled: %s", error)
                    return
                if self._ended.wait(monitor.sampling_interval):
                    return
            values = {prefix + name: float(value) for name, value in monitor.aggregate_metrics().items()}
            self._say(
                "metrics", {"values": plain_numbers(values), "step": self._step, "time": milliseconds()}, at_once=False
            )
            self._step += 1
            for each in monitor.monitors:
                each.clear_metrics()


def start_system_metrics(say: Callable[..., None], first_step: int) -> SystemMetrics | None:
    try:
        return SystemMetrics(say, first_step)
    except (ImportError, MlflowException) as error:  # psutil is optional to MLflow
        _log.warning("System metrics are not sampled: %s", error)
        return None
