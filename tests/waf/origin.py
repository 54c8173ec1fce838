#!/usr/bin/env python3
"""The origin of the regression tests: answers every request with an empty 200, and reflects what POST /reflect asks.

    tests/waf/origin.py PORT

The body of POST /reflect is JSON: {"status": 200, "headers": {"name": "value"}, "body": "text", "encodedBody":
"base64"}, all optional. It behaves as coreruleset/albedo does, which the rule set's own tests run against; without a
Content-Type the body's is guessed from its first bytes (WHATWG MIME sniffing, as net/http of Go does).
"""

import argparse
import asyncio
import base64
import json
import re
import sys

HEAD_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 32 << 20
SNIFF_BYTES = 512
HTML_TAGS = b"!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P"
HTML = re.compile(rb"[\t\n\x0c\r ]*<(?:(?:" + HTML_TAGS + rb")[ >]|!--)", re.IGNORECASE)
XML = re.compile(rb"[\t\n\x0c\r ]*<\?xml")
MAGIC = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\xfe\xff", "text/plain; charset=utf-16be"),
    (b"\xff\xfe", "text/plain; charset=utf-16le"),
    (b"\xef\xbb\xbf", "text/plain; charset=utf-8"),
]
# Control bytes that text does not hold.
BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")


def guess_type(body):
    start = body[:SNIFF_BYTES]
    if HTML.match(start):
        return "text/html; charset=utf-8"
    if XML.match(start):
        return "text/xml; charset=utf-8"
    for magic, kind in MAGIC:
        if start.startswith(magic):
            return kind
    return "application/octet-stream" if BINARY.search(start) else "text/plain; charset=utf-8"


async def read_body(reader, fields):
    if "chunked" in fields.get("transfer-encoding", "").lower():
        parts, total = [], 0
        while size := int((await reader.readline()).split(b";")[0], 16):
            total += size
            if total > BODY_BYTES_MAX:
                raise ValueError("too long")
            parts.append(await reader.readexactly(size))
            await reader.readline()
        while (await reader.readline()).strip():
            pass
        return b"".join(parts)
    length = int(fields.get("content-length", 0))
    if length > BODY_BYTES_MAX:
        raise ValueError("too long")
    return await reader.readexactly(length)


def reflect(body):
    """Status, fields and body that a POST /reflect asks for."""
    try:
        asked = json.loads(body)
        status = int(asked.get("status") or 200)
        if not 100 <= status < 600:
            raise ValueError("status")
        content = (asked.get("body") or "").encode("utf-8", "surrogatepass")
        if not content:
            content = base64.b64decode(asked.get("encodedBody") or "", validate=True)
        fields = {str(name): str(value) for name, value in (asked.get("headers") or {}).items()}
    except (ValueError, AttributeError, TypeError):
        return 400, {}, b"Invalid JSON in request body"
    return status, fields, content


def answer(method, target, body):
    path = target.split("?")[0]
    status, fields, content = 200, {}, b""
    if method == "POST" and (path == "/reflect" or path.startswith("/reflect/")):
        status, fields, content = reflect(body)
    names = {name.lower() for name in fields}
    if content and "content-type" not in names:
        fields["Content-Type"] = guess_type(content)
    if "content-length" not in names:
        fields["Content-Length"] = str(len(content))
    head = f"HTTP/1.1 {status} Reflected\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items() if not re.search(r"[\r\n]", name + value))
    return head, content if method != "HEAD" else b""


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.rstrip("\r\n").split("\r\n")
            method, target, version = (line.split(" ") + ["", ""])[:3]
            pairs = (one.partition(":") for one in lines)
            fields = {name.lower(): value.strip() for name, _, value in pairs}
            body = await read_body(reader, fields)
            last = version == "HTTP/1.0" or "close" in fields.get("connection", "").lower()
            head, content = answer(method, target, body)
            head += "Connection: close\r\n\r\n" if last else "\r\n"
            writer.write(head.encode("utf-8", "replace") + content)
            await writer.drain()
            if last:
                break
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("port", type=int)
    port = parser.parse_args().port
    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=HEAD_BYTES_MAX, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(130)
