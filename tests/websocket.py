#!/usr/bin/python3
"""A WebSocket client: sends messages of many sizes through and expects each back.   tests/websocket.py URL"""

import asyncio
import ssl
import sys

import websockets


async def main(url):
    context = None
    if url.startswith("wss"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    async with websockets.connect(url, ssl=context, compression=None, open_timeout=10) as socket:
        for size in (0, 1, 125, 126, 4096, 65_535):
            message = bytes(index % 251 for index in range(size))
            await socket.send(message)
            answer = await asyncio.wait_for(socket.recv(), 10)
            assert answer == message, f"{size} bytes came back as {len(answer)}"
        await asyncio.gather(*(socket.send(str(number)) for number in range(100)))
        answers = [await asyncio.wait_for(socket.recv(), 10) for _ in range(100)]
        assert sorted(answers, key=int) == [str(number) for number in range(100)]
    print("106 messages came back as they were")


asyncio.run(main(sys.argv[1]))
