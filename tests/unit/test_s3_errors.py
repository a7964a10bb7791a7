import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from s3fs.errors import translate_boto_error

from tidegate.errors import (
    ObjectMissingError,
    ObjectRejectedError,
    SettingsError,
    StoreUnavailableError,
    TidegateError,
)
from tidegate.objects.s3_errors import code_of, explain


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "said the bucket"}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refusal("NoSuchKey"), ObjectMissingError),
        (refusal("404"), ObjectMissingError),
        (refusal("NoSuchBucket"), SettingsError),
        (refusal("PermanentRedirect"), SettingsError),
        (refusal("AccessDenied"), StoreUnavailableError),
        (refusal("ExpiredToken"), StoreUnavailableError),
        (refusal("403"), StoreUnavailableError),
        (refusal("SlowDown"), StoreUnavailableError),
        (refusal("InternalError"), StoreUnavailableError),
        (refusal("503"), StoreUnavailableError),
        (refusal("SomethingNew"), StoreUnavailableError),
        (refusal("KeyTooLongError"), ObjectRejectedError),
        (refusal("InvalidObjectState"), ObjectRejectedError),
        (EndpointConnectionError(endpoint_url="http://x"), StoreUnavailableError),
        (ConnectTimeoutError(endpoint_url="http://x"), StoreUnavailableError),
        (ConnectionResetError("reset"), StoreUnavailableError),
        (NoCredentialsError(), SettingsError),
        (NoRegionError(), SettingsError),
    ],
    ids=str,
)
def test_every_failure_has_an_error_of_ours(error: Exception, expected: type[TidegateError]) -> None:
    translated = translate_boto_error(error)
    assert type(explain(error, "s3://bucket/key")) is expected
    assert type(explain(translated, "s3://bucket/key")) is expected
    assert "bucket" in str(explain(translated, "s3://bucket/key"))
    assert code_of(error) == code_of(translated)
