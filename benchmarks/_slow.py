"""A server that answers every request after a fixed time: ``python _slow.py PORT SECONDS``."""

from __future__ import annotations

import asyncio
import sys

import _common as common


async def main(port: int, takes_s: float) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(common.ANSWER)}\r\n\r\n".encode() + common.ANSWER

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(common.REQUEST))
                await asyncio.sleep(takes_s)
                writer.write(answer)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(serve, common.HOST, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
