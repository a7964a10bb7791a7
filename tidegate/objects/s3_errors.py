"""What S3's refusals mean for Tidegate.

A 403 is StoreUnavailableError, not a fault of the object: it is how a policy, a clock or credentials
that ran out look from here, and quarantining every upload for that would be wrong. The message says
which rights to give; the call works again once they are given.
"""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from tidegate.errors import (
    ObjectMissingError,
    ObjectRejectedError,
    SettingsError,
    StoreUnavailableError,
    TidegateError,
)

#: What botocore and the libraries above and below it raise when a call fails.
BOTO_ERRORS = (OSError, BotoCoreError, ClientError)

#: Not there, or not as this version: gone, overwritten, or behind a delete marker.
ABSENT = {"404", "NoSuchKey", "NoSuchVersion", "405", "MethodNotAllowed", "412", "PreconditionFailed"}
NO_BUCKET = {"NoSuchBucket", "InvalidBucketName"}
EMPTY = {"416", "InvalidRange"}
NO_VERSIONING = {"501", "NotImplemented", "405", "MethodNotAllowed"}

UNUSABLE = (NoCredentialsError, NoRegionError, PartialCredentialsError, ProfileNotFound)
_OTHER_REGION = {
    "301",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
_BAD_KEY = {"KeyTooLongError", "InvalidURI"}
_DENIED = {
    "403",
    "AccessDenied",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
}
_RIGHTS = "s3:GetObject, GetObjectVersion, ListBucket, ListBucketVersions, GetBucketVersioning, PutObject"


def code_of(error: BaseException) -> str | None:
    """The service's own word for what went wrong; None when there was no answer."""
    origin = error if isinstance(error, ClientError) else error.__cause__
    if not isinstance(origin, ClientError):
        return None
    return str(origin.response.get("Error", {}).get("Code", ""))


def no_bucket(bucket: str) -> SettingsError:
    """The bucket itself is not there."""
    return SettingsError(f"The bucket {bucket!r} does not exist. Create it, or set another `landing`.")


def explain(error: BaseException, url: str) -> TidegateError:
    """The error to raise for a call about `url` that failed with `error`."""
    code = code_of(error)
    return _fatal(error, code, url) or _rejected(error, code, url) or _passing(error, code, url)


def _fatal(error: BaseException, code: str | None, url: str) -> TidegateError | None:
    if isinstance(error, UNUSABLE):
        msg = f"{url}: {error}. Give credentials and a region the usual AWS way, or set [s3] region."
        return SettingsError(msg)
    if code in NO_BUCKET:
        return no_bucket(url.split("/")[2])
    if code in _OTHER_REGION:
        return SettingsError(f"{url} is in another region: {error}. Set [s3] region to the bucket's.")
    return None


def _rejected(error: BaseException, code: str | None, url: str) -> TidegateError | None:
    if code in ABSENT:
        return ObjectMissingError(f"{url} is gone: the bucket holds no such key any more.")
    if code in _BAD_KEY:
        return ObjectRejectedError(f"{url}: the bucket does not take this key: {error}.", rule="key")
    if code == "InvalidObjectState":
        msg = f"{url} is archived. Restore it (aws s3api restore-object), then redrive it."
        return ObjectRejectedError(msg, rule="archived")
    return None


def _passing(error: BaseException, code: str | None, url: str) -> StoreUnavailableError:
    if code in _DENIED:
        msg = f"{url}: access denied ({code}: {error}). Check credentials, clock and rights: {_RIGHTS}."
        return StoreUnavailableError(msg)
    return StoreUnavailableError(f"{url}: no usable answer ({code or type(error).__name__}: {error}).")
