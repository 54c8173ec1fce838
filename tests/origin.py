#!/usr/bin/env python3
"""An origin for the end-to-end tests of l7 mode: answers with what it received, streams, waits, or speaks WebSocket.

    tests/origin.py PORT [--bind ADDRESS]

    /echo            method, target, fields and the body's SHA-256, as JSON
    /bytes?n=N       N bytes, each eight of them their own offset; chunked with &chunked
    /wait?ms=N       answers after N milliseconds
    /trickle?ms=N    ten lines, one every N milliseconds, chunked
    /cut             half of what it promises, then the end of the connection
    /ws              a WebSocket that sends back what it gets
Bodies are read as they come and never kept.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import struct
from urllib.parse import parse_qs, urlsplit

HEAD_BYTES_MAX = 128 * 1024
CHUNK = 64 * 1024


def pattern(start, length):
    first, last = start // 8, (start + length + 7) // 8
    block = b"".join(struct.pack("<Q", word) for word in range(first, last))
    return block[start - first * 8 : start - first * 8 + length]


async def read_body(reader, fields):
    """The pieces of a body, as they come."""
    if "chunked" in fields.get("transfer-encoding", ""):
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0:
                while (await reader.readline()).strip():
                    pass
                return
            while size:
                piece = await reader.read(min(size, CHUNK))
                if not piece:
                    raise ConnectionError("cut")
                size -= len(piece)
                yield piece
            await reader.readline()
    else:
        left = int(fields.get("content-length", 0))
        while left:
            piece = await reader.read(min(left, CHUNK))
            if not piece:
                raise ConnectionError("cut")
            left -= len(piece)
            yield piece


def head(status, fields):
    lines = [f"HTTP/1.1 {status}"] + [f"{name}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def websocket(reader, writer, fields):
    key = fields["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        head("101 Switching Protocols", {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept})
    )
    while True:
        first, second = await reader.readexactly(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", await reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await reader.readexactly(8))
        mask = await reader.readexactly(4)
        data = bytes(byte ^ mask[i % 4] for i, byte in enumerate(await reader.readexactly(length)))
        size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length)
        writer.write(bytes([first]) + size + data)
        await writer.drain()
        if first & 0x0F == 8:
            return


async def answer(reader, writer):
    """One request; whether another may follow."""
    line = (await reader.readline()).decode("latin-1").strip()
    if not line:
        return False
    method, target, _version = line.split(" ")
    fields, names = {}, []
    while field := (await reader.readline()).decode("latin-1").strip():
        name, _, value = field.partition(":")
        names.append([name, value.strip()])
        fields[name.lower()] = value.strip()
    url = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
    if url.path == "/ws":
        await websocket(reader, writer, fields)
        return False
    if fields.get("expect") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    digest, length = hashlib.sha256(), 0
    async for piece in read_body(reader, fields):
        digest.update(piece)
        length += len(piece)
    body = json.dumps(
        {"method": method, "target": target, "fields": names, "length": length, "sha256": digest.hexdigest()}
    ).encode()
    if url.path == "/wait":
        await asyncio.sleep(int(query["ms"]) / 1000)
    if url.path == "/bytes":
        count = int(query["n"])
        chunked = "chunked" in query
        writer.write(head("200 OK", {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": count}))
        for start in range(0, count, CHUNK) if method != "HEAD" else ():
            piece = pattern(start, min(CHUNK, count - start))
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            await writer.drain()
        if chunked and method != "HEAD":
            writer.write(b"0\r\n\r\n")
    elif url.path == "/trickle":
        writer.write(head("200 OK", {"Transfer-Encoding": "chunked"}))
        for number in range(10):
            await asyncio.sleep(int(query["ms"]) / 1000)
            writer.write(b"7\r\nline %d\n\r\n" % number)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
    elif url.path == "/cut":
        writer.write(head("200 OK", {"Content-Length": 1000}) + b"x" * 500)
        await writer.drain()
        return False
    else:
        writer.write(head("200 OK", {"Content-Type": "application/json", "Content-Length": len(body)}))
        if method != "HEAD":
            writer.write(body)
    await writer.drain()
    return "close" not in fields.get("connection", "").lower()


async def serve(reader, writer):
    try:
        while await answer(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError, ValueError, KeyError):
        pass
    finally:
        writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--bind", action="append", help="default: loopback")
    options = parser.parse_args()
    server = await asyncio.start_server(serve, options.bind or ["127.0.0.1"], options.port, limit=HEAD_BYTES_MAX)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
