"""AWS Batch as a service: its clients, and its errors as ours."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import msgspec

from nbpipe.errors import NbpipeError, StoreError, UsageError

CONNECT = 10
"""Seconds until a connection that does not come up is given up."""

READ = 60
"""Seconds until an answer that does not come is given up."""

TRIES = 5
"""How often a request is made that a passing failure meets."""

PASSING = {"TooManyRequestsException", "ThrottlingException", "RequestLimitExceeded"}
"""Refusals that mean: later."""


class Clients(msgspec.Struct, frozen=True):
    """Two clients of one service.

    Attributes:
        patient: makes a request again after a passing failure.
        once: makes it once, for those that may not be made twice.
    """

    patient: Any
    once: Any


def connect(region: str | None) -> Clients:
    """Clients for the account and endpoint that the environment names, as AWS's own tools do.

    Args:
        region: where; None: as ``AWS_REGION``, ``AWS_DEFAULT_REGION`` or the configuration says.

    Raises:
        UsageError: botocore is not installed, or no region is named.
    """
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, NoRegionError
        from botocore.session import get_session
    except ImportError as error:
        raise UsageError(f"AWS Batch: {error}", "install nbpipe-kit[aws]") from error

    def client(tries: int) -> Any:
        retries = {"mode": "standard", "total_max_attempts": tries}
        config = Config(retries=retries, connect_timeout=CONNECT, read_timeout=READ)
        return session.create_client("batch", region_name=asked, config=config)

    session, asked = get_session(), region or os.environ.get("AWS_REGION")
    try:
        return Clients(client(TRIES), client(1))
    except NoRegionError:
        raise UsageError("no AWS region is named", "--set region=NAME, or AWS_REGION") from None
    except BotoCoreError as error:
        raise UsageError(f"AWS: {_without_secrets(error)}") from None


def call(method: Callable[..., dict[str, Any]], **request: Any) -> dict[str, Any]:
    """Make a request.

    Raises:
        UsageError: it is refused: no credentials, no permission, no such queue.
        StoreError: the service cannot be reached, or does not work.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return method(**request)
    except (BotoCoreError, ClientError) as error:
        raise translated(error) from error


def is_passing(error: Exception) -> bool:
    """Whether the request may do when it is made again; it may also have been carried out."""
    from botocore.exceptions import ClientError, ConnectionError, HTTPClientError

    if isinstance(error, ClientError):
        code, status = _refusal(error)
        return code in PASSING or status >= 500
    return isinstance(error, ConnectionError | HTTPClientError)


def translated(error: Exception) -> NbpipeError:
    """An error of AWS's library as one of ours."""
    from botocore.exceptions import ClientError, NoCredentialsError

    said = f"AWS Batch: {_without_secrets(error)}"
    if isinstance(error, NoCredentialsError):
        return UsageError(said, "name them as for AWS's own tools, such as by AWS_PROFILE")
    if isinstance(error, ClientError) and not is_passing(error):
        return UsageError(said, "check the queue, the region and your permissions")
    return StoreError(said, "check AWS_ENDPOINT_URL, the region and the connection")


def _refusal(error: Any) -> tuple[str, int]:
    """The code of a refusal, and the HTTP status that it came with."""
    said = error.response
    status = said.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return said.get("Error", {}).get("Code", ""), int(status)


def _without_secrets(error: Exception) -> str:
    """What an error says, without a user and password that stand in an address."""
    return re.sub(r"//[^/@\s]*@", "//", str(error))
