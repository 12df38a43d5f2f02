"""Every error of a request or an image, as one tree; the type decides whether to try again.

HalftoneError
├── ImageError                     one image, one code; its neighbours go on
│   ├── TransientError             worth another attempt, later
│   │   ├── DnsFailure  ConnectFailure  FetchTimeout  IncompleteBody
│   │   ├── HttpStatusTransient    408, 425, 429, 5xx; may carry `retry_after`
│   │   └── CodecCrashed           tried at once: 5 times if the child dies, 2 for memory, 1 for a bug
│   └── FinalError
│       ├── BlockedUrl  TooManyRedirects  HttpProtocol  HttpStatus  TooLarge
│       ├── NotAnImage  UnsupportedFormat  TooManyPixels  TooManyFrames  CorruptImage
│       └── CodecTimeout  WorkerLost  Cancelled  Expired
└── StorageError                   the blob store failed; not an error of the image
"""

from typing import ClassVar


class HalftoneError(Exception):
    """The root of every error that Halftone raises on purpose."""


class StorageError(HalftoneError):
    """The blob store failed (disk full, bucket unreachable); the work is done again later."""


class ImageError(HalftoneError):
    """One image failed. `code` is stable and public, `detail` is public text for a person."""

    code: ClassVar[str]
    transient: ClassVar[bool]

    def __init__(self, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.detail = detail[:500].replace("\x00", "\ufffd")  # PostgreSQL takes no NUL, and a batch is one statement
        self.retry_after = retry_after


class TransientError(ImageError):
    transient = True


class FinalError(ImageError):
    transient = False


class DnsFailure(TransientError):
    code = "dns_failure"


class ConnectFailure(TransientError):
    code = "connect_failure"


class FetchTimeout(TransientError):
    code = "timeout"


class IncompleteBody(TransientError):
    code = "incomplete_body"


class HttpStatusTransient(TransientError):
    """`host_port` answered with `status`, and wants not to be asked again for `retry_after` seconds."""

    code = "http_status"

    def __init__(
        self, detail: str, *, retry_after: float | None = None, status: int = 503, host_port: str = ""
    ) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.status = status
        self.host_port = host_port


class CodecCrashed(TransientError):
    code = "codec_crashed"


class BlockedUrl(FinalError):
    code = "blocked_url"


class TooManyRedirects(FinalError):
    code = "too_many_redirects"


class HttpProtocol(FinalError):
    code = "http_protocol"


class HttpStatus(FinalError):
    """A host answered with `status`."""

    code = "http_status"

    def __init__(self, detail: str, *, status: int) -> None:
        super().__init__(detail)
        self.status = status


class TooLarge(FinalError):
    code = "too_large"


class NotAnImage(FinalError):
    code = "not_an_image"


class UnsupportedFormat(FinalError):
    code = "unsupported_format"


class TooManyPixels(FinalError):
    code = "too_many_pixels"


class TooManyFrames(FinalError):
    code = "too_many_frames"


class CorruptImage(FinalError):
    code = "corrupt_image"


class CodecTimeout(FinalError):
    code = "codec_timeout"


class WorkerLost(FinalError):
    code = "worker_lost"


class Cancelled(FinalError):
    code = "cancelled"


class Expired(FinalError):
    code = "expired"
