"""Requests of the regression tests as bytes, and one exchange over a connection of its own.

What is completed follows go-ftw: fields that are missing (Connection, Content-Length, Content-Type of a body), form
bodies that are not encoded yet, line ends of multipart bodies. Nothing else is repaired: tests break HTTP on purpose.
"""

import dataclasses
import http.client
import re
import socket
from urllib.parse import quote_plus

FORM = "application/x-www-form-urlencoded"
METHODS_WITH_BODY = re.compile(r"^POST|PUT|PATCH|DELETE$")
# An answer longer than this is not one of a test.
ANSWER_BYTES_MAX = 16 << 20


@dataclasses.dataclass
class Answer:
    status: int | None = None
    head: str = ""
    body: bytes = b""
    # Why there is no answer.
    error: str | None = None


def value_of(fields, name):
    for key, value in fields:
        if key.lower() == name.lower():
            return value
    return ""


def encode_form(data):
    """Names and values of a form encoded, unless the body shows that they are already."""
    if b"%" in data or b"+" in data:
        return data
    pairs = []
    for pair in data.removesuffix(b"&").split(b"&"):
        name, equals, value = pair.partition(b"=")
        pairs.append(quote_plus(name) + equals.decode() + quote_plus(value))
    return "&".join(pairs).encode()


def build(stage, extra=()):
    """The bytes of a stage's request, with the fields `extra` added."""
    if stage.raw is not None:
        line, end, rest = stage.raw.partition(b"\n")
        added = "".join(f"{name}: {value}\r\n" for name, value in extra).encode()
        return line + end + (added if end else b"") + rest
    fields, data = list(stage.fields), stage.data

    def complete(name, value):
        if not value_of(fields, name):
            fields[:] = [field for field in fields if field[0].lower() != name.lower()] + [(name, value)]

    if data and stage.autocomplete:
        complete("Content-Type", FORM)
        if value_of(fields, "Content-Type") == FORM:
            data = encode_form(data)
    if value_of(fields, "Content-Type").startswith("multipart/form-data;"):
        data = data.replace(b"\n", b"\r\n")
    if stage.autocomplete:
        complete("Connection", "close")
        if data or METHODS_WITH_BODY.search(stage.method):
            complete("Content-Length", str(len(data)))
    head = f"{stage.method} {stage.uri} {stage.version}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in sorted([*fields, *extra]))
    return head.encode("utf-8", "surrogatepass") + b"\r\n" + data


def exchange(place, request, timeout):
    """Sends the bytes to `place` (host, port) and reads one answer."""
    method = request.split(b" ", 1)[0].decode("latin-1")
    try:
        with socket.create_connection(place, timeout=timeout) as connection:
            # A server may refuse before all is sent; what it said can still be read.
            try:
                connection.sendall(request)
            except (BrokenPipeError, ConnectionResetError):
                pass
            response = http.client.HTTPResponse(connection, method=method)
            try:
                response.begin()
                body = response.read(ANSWER_BYTES_MAX)
            finally:
                response.close()
            head = "".join(f"{name}: {value}\r\n" for name, value in response.getheaders())
            return Answer(response.status, f"{response.status} {response.reason}\r\n{head}", body)
    except (OSError, http.client.HTTPException) as error:
        return Answer(error=f"{type(error).__name__}: {error}".rstrip(": "))
