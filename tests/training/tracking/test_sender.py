"""What the sender makes of MLflow's answers; the sending itself is in test_tracker.py and tests/cluster."""

import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST, INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from requests import HTTPError

from training.tracking import TrackingError
from training.tracking.sending import Lost, Refused, judged_answer
from training.tracking.store import plain_errors


@pytest.mark.parametrize(
    ("message", "code", "judgment"),
    [
        ("(psycopg2.errors.UniqueViolation) duplicate key value violates ...", BAD_REQUEST, TrackingError),
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.name", BAD_REQUEST, TrackingError),
        ("(psycopg2.OperationalError) the connection was lost", 1, TrackingError),
        ("a parameter has another value already", INVALID_PARAMETER_VALUE, Refused),
        ("no", BAD_REQUEST, Refused),
        ("who are you?", PERMISSION_DENIED, Lost),
    ],
)
def test_an_answer_means_later_never_or_not_to_us(message: str, code: int, judgment: type[Exception]) -> None:
    with pytest.raises(TrackingError) as caught, plain_errors("http://tracker", "recording the dataset"):
        raise MlflowException(message, error_code=code)
    assert type(judged_answer(caught.value)) is judgment


def test_what_a_server_answers_is_said_without_the_password() -> None:
    with pytest.raises(TrackingError) as caught, plain_errors("http://me:secret@tracker", "keeping a picture"):
        raise HTTPError("401 Client Error: UNAUTHORIZED for url: http://me:secret@tracker/api/2.0/x.png")
    assert "for url: http://tracker/api/2.0/x.png" in str(caught.value)
    assert "secret" not in str(caught.value)
