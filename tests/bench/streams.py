"""Opens streams and holds them: streams.py PORT PATH BODY-FILE STREAMS EVENTS HEADER...

Prints a line of JSON when every stream has received EVENTS events, and ends, closing all of them, when its standard input ends.
Raw sockets with one small object each: the client must not be what runs out.
"""

import asyncio
import json
import sys

OPEN_AT_ONCE = 100
READY_SECONDS = 120


class Stream(asyncio.Protocol):
    def __init__(self, request, events):
        self.request, self.events = request, events
        self.seen, self.tail = 0, b""
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        if not self.ready.done() and not self.tail and not data.startswith(b"HTTP/1.1 200"):
            self.ready.set_exception(RuntimeError(f"answered {data[:200]!r}"))
            return
        # An event ends with an empty line; it may arrive in two parts.
        joined = self.tail[-1:] + data
        self.seen += joined.count(b"}\n\n")
        self.tail = joined[-3:]
        if self.seen >= self.events and not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, problem):
        if not self.ready.done():
            self.ready.set_exception(RuntimeError(f"closed before {self.events} events: {problem}"))


async def main(port, path, body, streams, events, headers):
    with open(body, "rb") as file:
        content = file.read()
    head = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(content)}", *headers, "", ""]
    request = "\r\n".join(head).encode() + content
    loop = asyncio.get_running_loop()
    held = []
    for first in range(0, streams, OPEN_AT_ONCE):
        count = min(OPEN_AT_ONCE, streams - first)
        opened = await asyncio.gather(
            *(loop.create_connection(lambda: Stream(request, events), "127.0.0.1", port) for _ in range(count))
        )
        held += [protocol for _, protocol in opened]
        await asyncio.wait_for(asyncio.gather(*(stream.ready for stream in held[first:])), READY_SECONDS)
    print(json.dumps({"streams": len(held), "events": sum(stream.seen for stream in held)}), flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    closed = sum(stream.transport.is_closing() for stream in held)
    for stream in held:
        stream.transport.abort()
    if closed:
        sys.exit(f"{closed} streams were closed while they were held")


if __name__ == "__main__":
    port, path, body, streams, events, *headers = sys.argv[1:]
    asyncio.run(main(int(port), path, body, int(streams), int(events), headers))
