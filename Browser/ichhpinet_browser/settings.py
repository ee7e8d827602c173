"""What a page and its front door are told: sizes, times and limits, each with its reason. Plain values."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import asdict, dataclass

MOST_SESSIONS = 4  # each takes a page process and an engine process: about 1.5 GB together
MOST_UPLOAD_MB = 1024  # twice a thin-slice head CT in DICOM
MOST_FILES = 3000  # of one upload: a head CT has some hundred slices
AWAY_SECONDS = 600.0  # a page whose connection broke keeps its work so long
RELOAD_SECONDS = 5.0  # a page that reloads is back by then, on a slow connection too
LEFT_SECONDS = 20.0  # a page that said that it was closed; a reload comes back sooner
UNSEEN_SECONDS = 60.0  # a page that was opened and never connected
START_SECONDS = 90.0  # a page process that has not come up by then has failed


@dataclass(frozen=True)
class PageSettings:
    """One page process. key: what each request must carry. folder: private to it. samples: where the sample is kept.

    ct: a path to open at once. series: which of several in it.
    """

    key: str
    folder: str
    samples: str
    ct: str | None = None
    series: str | None = None
    weights: str | None = None
    device: str = "auto"
    most_upload_mb: int = MOST_UPLOAD_MB
    local: bool = True

    def to_line(self) -> str:
        """One line of JSON, as the page process reads it from its standard input."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> PageSettings:
        """The inverse of `to_line`."""
        return cls(**json.loads(line))


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
