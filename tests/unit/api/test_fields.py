"""Base64 in every form in which programs write it."""

import base64
import textwrap
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from api.fields import Base64

ADAPTER = TypeAdapter(Base64)

FORMS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "URL-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "unpadded": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "in lines, as MIME": lambda data: base64.encodebytes(data).decode(),
    "in lines of Windows": lambda data: "\r\n".join(textwrap.wrap(base64.b64encode(data).decode(), 64)),
    "surrounded": lambda data: f" \n\t{base64.b64encode(data).decode()}\n ",
    "as a data URL": lambda data: f"data:image/png;base64,{base64.b64encode(data).decode()}",
    "as a shouted data URL": lambda data: f" DATA:image/PNG;charset=x;BASE64,{base64.urlsafe_b64encode(data).decode()}",
    "as a quoted data URL": lambda data: f"data:;base64,{quote(base64.b64encode(data).decode(), safe='')}",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(data=st.binary(min_size=1))
def test_the_bytes_come_back(form: Callable[[bytes], str], data: bytes) -> None:
    assert ADAPTER.validate_python(form(data)) == data


@pytest.mark.parametrize("text", ["", "====", "AAAAA", "AA=AA", "data:image/png,AAAA", "data:,", "/9…", 7, None])
def test_anything_else_is_told_why(text: object) -> None:
    with pytest.raises(ValidationError, match="base64"):
        ADAPTER.validate_python(text)
