#!/usr/bin/env python3
"""Sends the lines of an NDJSON file to weir with rsocket-py: produce.py PORT FILE channel|stream|request

channel is ingest.stream without a header, stream the same with one. Prints {"sent": n, "acked": n, "messages": [...]}.
"""

import asyncio
import json
import sys
import uuid

from rsocket.extensions.helpers import composite, metadata_item, route
from rsocket.extensions.mimetypes import WellKnownMimeTypes
from rsocket.helpers import single_transport_provider
from rsocket.payload import Payload
from rsocket.awaitable.awaitable_rsocket import AwaitableRSocket
from rsocket.rsocket_client import RSocketClient
from rsocket.streams.stream_from_generator import StreamFromGenerator
from rsocket.transports.tcp import TransportTCP

STREAM_HEADER = b"application/vnd.weir.stream+json"


def header():
    fields = {"producer": "rsocket-py", "incarnation": uuid.uuid4().hex, "stream": f"py-{uuid.uuid4().hex}", "epoch": 1}
    return metadata_item(json.dumps(fields | {"ack": "committed", "k": 0, "reopen": False}).encode(), STREAM_HEADER)


def payloads(lines):
    """The generator that rsocket-py pulls from as the responder's REQUEST_N allows."""
    for i, line in enumerate(lines):
        yield Payload(line), i == len(lines) - 1


async def channel(client, lines, *entries):
    """Returns the messages that came back; without a header the first line travels in the opening frame."""
    first = Payload(b"" if entries else lines[0], composite(route("ingest.stream"), *entries))
    rest = lines if entries else lines[1:]
    answers = await client.request_channel(first, StreamFromGenerator(lambda: payloads(rest)))
    messages = [json.loads(answer.data) for answer in answers]
    acked = max((m["sequence"] for m in messages if m["type"] == "ack"), default=0)
    return acked, messages


async def requests(client, lines):
    metadata = composite(route("ingest.request"))
    answers = await asyncio.gather(*(client.request_response(Payload(line, metadata)) for line in lines))
    messages = [json.loads(answer.data) for answer in answers]
    return sum(m["records"] for m in messages), messages[:3]


async def main(port, path, mode):
    with open(path, "rb") as f:
        lines = f.read().splitlines()
    connection = await asyncio.open_connection("127.0.0.1", int(port))
    provider = single_transport_provider(TransportTCP(*connection))
    composite_type = WellKnownMimeTypes.MESSAGE_RSOCKET_COMPOSITE_METADATA
    async with RSocketClient(provider, metadata_encoding=composite_type) as socket:
        client = AwaitableRSocket(socket)
        if mode == "request":
            acked, messages = await requests(client, lines)
        else:
            acked, messages = await channel(client, lines, *([header()] if mode == "stream" else []))
    print(json.dumps({"sent": len(lines), "acked": acked, "messages": messages}))


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 120))
