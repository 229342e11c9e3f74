"""Bodies of requests: JSON, forms, and what is wrong with them."""

import threading
from io import BytesIO
from json import JSONDecodeError
from typing import IO, Any, cast

from apiflask.exceptions import HTTPError
from flask import Request, request
from werkzeug import formparser
from werkzeug.datastructures import Headers
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType
from werkzeug.formparser import FormDataParser
from werkzeug.sansio.multipart import LINE_BREAK_RE, MultipartDecoder

from api.errors import INVALID_FIELDS
from api.spool import PartOfFile, spool_file
from api.upload_limits import FORM_OVERHEAD, largest_request
from umbel.base.settings import settings
from umbel.base.storable import parse_json


class UmbelRequest(Request):
    """A request whose JSON, where it has any, is an object that can be stored and served."""

    def get_json(self, *_: Any, **__: Any) -> Any:
        """The body, whatever its media type. Raises HTTPError: 400 for what is not JSON, 422 for what is not taken."""
        try:
            body = parse_json(self.get_data().decode("utf-8-sig"))
            if not isinstance(body, dict):
                raise ValueError("must be a JSON object")
            return body
        except UnicodeDecodeError as error:
            raise BadRequest("The body is not JSON: it is not UTF-8.") from error
        except JSONDecodeError as error:
            raise BadRequest(f"The body is not JSON: {error}.") from error
        except ValueError as error:
            raise HTTPError(422, INVALID_FIELDS, {"body": {"body": [str(error)]}}) from error

    def make_form_data_parser(self) -> FormDataParser:
        parser = super().make_form_data_parser()
        parser.silent = False
        return parser

    def _load_form_data(self) -> None:
        try:
            super()._load_form_data()
        except ValueError as error:
            raise BadRequest(f"The form is cut short or malformed: {error}.") from error
        except RequestEntityTooLarge as error:
            raise RequestEntityTooLarge(
                f"The form has more than {self.max_content_length:,} bytes, more than {self.max_form_parts:,} parts, or"
                f" a field other than a file of more than {FORM_OVERHEAD:,} bytes."
            ) from error

    def _get_file_stream(self, total_content_length: int | None, *_: Any, **__: Any) -> IO[bytes]:
        """Images are read into memory in any case; of a body that lies in a file, what is larger stays there."""
        if total_content_length is not None and total_content_length <= largest_request(settings()):
            return BytesIO()
        try:
            body = self.environ["wsgi.input"].fileno()
        except (AttributeError, OSError):
            return spool_file()
        return cast(IO[bytes], PartOfFile(body, _decoding.decoder.file_start()))


_decoding = threading.local()  # the decoder that this thread has made last


class _Decoder(MultipartDecoder):
    """Takes file names in whatever encoding: the bytes that are not UTF-8 are replaced. Knows where files begin."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._received = 0
        _decoding.decoder = self

    def receive_data(self, data: bytes | None) -> None:
        super().receive_data(data)
        self._received += len(data or b"")

    def file_start(self) -> int:
        """Where in the body the bytes of the file begin whose header was read last: behind a line break."""
        line_break = LINE_BREAK_RE.match(self.buffer)
        return self._received - len(self.buffer) + (line_break.end() if line_break else 0)

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        return super()._parse_headers(data.decode(errors="replace").encode())


formparser.MultipartDecoder = _Decoder  # type: ignore[attr-defined] # a form's parser makes its decoder by this name


def refuse_encodings() -> None:
    """Raises UnsupportedMediaType for a body that is packed: it would be taken for what it is not."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedMediaType(f"Send the body without Content-Encoding; {encoding[:40]!r} is not unpacked.")
