#!/usr/bin/env python3
"""Sends the lines of an NDJSON file to weir with rsocket-py in another format: formats.py PORT FILE FORMAT [SCHEMA [MESSAGE]]

FORMAT is json, protobuf (SCHEMA is a descriptor set, MESSAGE a full name), avro (SCHEMA is an .avsc file) or arrow. A payload
has many records: lines, records behind their length, or a record batch. Prints {"sent": n, "acked": n, "messages": [...]},
n being records.
"""

import asyncio
import io
import json
import sys

from rsocket.extensions.helpers import composite, route
from rsocket.extensions.mimetypes import WellKnownMimeTypes
from rsocket.helpers import single_transport_provider
from rsocket.payload import Payload
from rsocket.awaitable.awaitable_rsocket import AwaitableRSocket
from rsocket.rsocket_client import RSocketClient
from rsocket.streams.stream_from_generator import StreamFromGenerator
from rsocket.transports.tcp import TransportTCP

from produce import header
import rows

BATCH = 500
SCHEMA = "event.schema.json"


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out) + bytes([n])


def delimited(records):
    return b"".join(varint(len(r)) + r for r in records)


def protobuf(path, message):
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

    pool = descriptor_pool.DescriptorPool()
    with open(path, "rb") as f:
        for file in descriptor_pb2.FileDescriptorSet.FromString(f.read()).file:
            pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(message))
    return lambda lines: delimited(json_format.Parse(line, kind(), descriptor_pool=pool).SerializeToString() for line in lines)


def avro(path):
    import fastavro

    schema = fastavro.schema.load_schema(path)

    def encode(record):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema, record)
        return out.getvalue()

    kind = rows.load(path.replace("event.avsc", SCHEMA))
    return lambda lines: delimited(encode(rows.parse(json.loads(line), kind)) for line in lines)


def arrow(path):
    import pyarrow as pa

    kind = rows.load(path)
    schema = pa.schema(list(rows.arrow(kind)))

    def encode(lines):
        out = io.BytesIO()
        with pa.ipc.new_stream(out, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as w:
            w.write_batch(pa.RecordBatch.from_pylist([rows.parse(json.loads(line), kind) for line in lines], schema=schema))
        return out.getvalue()

    return encode


FORMATS = {
    "json": ("application/x-ndjson", lambda: b"\n".join),
    "protobuf": ("application/protobuf;encoding=delimited", protobuf),
    "avro": ("application/avro;encoding=delimited", avro),
    "arrow": ("application/vnd.apache.arrow.stream", arrow),
}


async def main(port, path, name, *args):
    mime, make = FORMATS[name]
    with open(path, "rb") as f:
        lines = f.read().splitlines()
    encode = make(*args)
    batches = [encode(lines[i : i + BATCH]) for i in range(0, len(lines), BATCH)]
    connection = await asyncio.open_connection("127.0.0.1", int(port))
    provider = single_transport_provider(TransportTCP(*connection))
    composite_type = WellKnownMimeTypes.MESSAGE_RSOCKET_COMPOSITE_METADATA
    async with RSocketClient(provider, data_encoding=mime.encode(), metadata_encoding=composite_type) as socket:
        client = AwaitableRSocket(socket)
        first = Payload(b"", composite(route("ingest.stream"), header()))
        generator = lambda: ((Payload(b), i == len(batches) - 1) for i, b in enumerate(batches))
        answers = await client.request_channel(first, StreamFromGenerator(generator))
        messages = [json.loads(answer.data) for answer in answers]
    acked = max((m["records"] for m in messages if m["type"] == "ack"), default=0)
    print(json.dumps({"sent": len(lines), "acked": acked, "messages": messages[:3]}))


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), 300))
