"""What the fork server must be told of the network when it is executed: Go and OpenSSL do not look at it later."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.certificates import CERTIFICATE_FILE, CERTIFICATE_FOLDER, NO_FOLDER
from appliance.wallclock import FILE as CLOCK_FILE
from appliance.wallclock import VARIABLE as CLOCK_VARIABLE


class NetworkError(Exception):
    """The configured network is not there; one line with the remedy."""


class _StagingInfo(msgspec.Struct):
    """The one line of a staging network's `staging.json` that concerns us."""

    ca_file: str


def network_environment(staging: Path | None) -> dict[str, str]:
    """Variables for the fork server and its workers; none for WhatsApp itself. Raises NetworkError.

    On a staging network: the file of all authorities that workers shall trust, and its clock.
    """
    if staging is None:
        return {}
    try:
        info = msgspec.json.decode((staging / "staging.json").read_bytes(), type=_StagingInfo)
    except (OSError, msgspec.DecodeError) as error:
        raise NetworkError(
            f"network.staging: no staging network has been started in {staging} ({error}); run: amda staging run"
        ) from error
    return {
        CERTIFICATE_FILE: str(staging / info.ca_file),
        CERTIFICATE_FOLDER: NO_FOLDER,
        CLOCK_VARIABLE: str(staging / CLOCK_FILE),
    }
