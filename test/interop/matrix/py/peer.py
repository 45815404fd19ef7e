"""rsocket-py as a peer of the matrix. The commands are described in wire_test.go."""

import asyncio
import inspect
import json
import logging
import ssl
import sys
import threading
from datetime import timedelta

from reactivestreams.publisher import Publisher
from reactivestreams.subscriber import DefaultSubscriber
from reactivestreams.subscription import Subscription
from rsocket.extensions.authentication_content import AuthenticationContent
from rsocket.extensions.composite_metadata import CompositeMetadata
from rsocket.extensions.helpers import authenticate_bearer, composite, require_route, route
from rsocket.extensions.mimetypes import WellKnownMimeTypes
from rsocket.helpers import create_future, single_transport_provider
from rsocket.lease import DefinedLease, LeasePublisher
from rsocket.payload import Payload
from rsocket.request_handler import BaseRequestHandler
from rsocket.rsocket_client import RSocketClient
from rsocket.rsocket_server import RSocketServer
from rsocket.transports.abstract_messaging import AbstractMessagingTransport
from rsocket.transports.tcp import TransportTCP
from websockets.asyncio.client import connect as connect_websocket
from websockets.asyncio.server import serve as serve_websocket

ALL = 0x7FFFFFFF
COMPOSITE = WellKnownMimeTypes.MESSAGE_RSOCKET_COMPOSITE_METADATA


def text(payload):
    return Payload(payload.encode())


class WebSocket(AbstractMessagingTransport):
    """A transport over a connection of the package websockets; one frame is one message."""

    def __init__(self, connection):
        super().__init__()
        self.connection = connection

    async def connect(self):
        self.reader = asyncio.create_task(self.read())

    async def read(self):
        async for message in self.connection:
            async for frame in self._frame_parser.receive_data(message, 0):
                self._incoming_frame_queue.put_nowait(frame)

    async def send_frame(self, frame):
        await self.connection.send(frame.serialize())

    async def close(self):
        await self.connection.close()


class Numbers(Publisher, Subscription):
    """The numbers below n, given as they are asked for; then end(subscriber)."""

    def __init__(self, n, end=None, cancelled=None, sent=None):
        self.n, self.end, self.cancelled = n, end or (lambda s: s.on_complete()), cancelled or (lambda: None)
        self.next, self.credit, self.task, self.over = 0, 0, None, False
        self.sent = sent or (lambda n: None)

    def subscribe(self, subscriber):
        self.subscriber = subscriber
        subscriber.on_subscribe(self)

    def request(self, n):
        self.credit += n
        if self.task is None or self.task.done():
            self.task = asyncio.create_task(self.give())

    async def give(self):
        while not self.over and self.credit > 0 and self.next < self.n:
            self.credit -= 1
            self.subscriber.on_next(text(str(self.next)))
            self.next += 1
            self.sent(self.next)
            if self.next % 100 == 0:
                await asyncio.sleep(0)  # the library's send queue has no bound
        if not self.over and self.next == self.n:
            self.over = True
            self.end(self.subscriber)

    def cancel(self):
        self.over = True
        self.cancelled()


class Outbox(Publisher, Subscription):
    """What a channel's responder sends, whenever it has something."""

    def __init__(self, cancelled):
        self.cancelled = cancelled
        self.waiting, self.credit, self.done = [], 0, False

    def subscribe(self, subscriber):
        self.subscriber = subscriber
        subscriber.on_subscribe(self)

    def request(self, n):
        self.credit += n
        self.flush()

    def cancel(self):
        self.cancelled()

    def send(self, payload):
        self.waiting.append(payload)
        self.flush()

    def complete(self):
        self.done = True
        self.flush()

    def flush(self):
        while self.waiting and self.credit > 0:
            self.credit -= 1
            self.subscriber.on_next(self.waiting.pop(0))
        if self.done and not self.waiting:
            self.done = False
            self.subscriber.on_complete()


# ---- the responder


class Input(DefaultSubscriber):
    """Takes what comes in on a channel, grant at a time, each time asked for later."""

    def __init__(self, seen, verb, n, outbox):
        super().__init__()
        self.seen, self.verb, self.n, self.outbox = seen, verb, n, outbox
        self.grant = n if verb == "slow" else 64
        self.count, self.sum, self.over = 0, 0, False

    def on_subscribe(self, subscription):
        super().on_subscribe(subscription)
        asyncio.get_running_loop().call_soon(subscription.request, self.grant)

    def on_next(self, value, is_complete=False):
        if self.over:
            return
        self.count += 1
        self.sum += int(value.data)
        if self.verb == "echo":
            self.outbox.send(Payload(bytes(value.data)))
        if self.verb in ("fail", "stop") and self.count == self.n:
            self.reached()
        elif is_complete:
            self.on_complete()
        elif self.count % self.grant == 0:
            asyncio.get_running_loop().call_soon(self.subscription.request, self.grant)

    def reached(self):
        self.over = True
        if self.verb == "fail":
            self.outbox.subscriber.on_error(RuntimeError("boom"))
        else:
            self.subscription.cancel()
            self.outbox.send(text("stopped"))
            self.outbox.complete()

    def on_complete(self):
        if self.over:
            return
        self.over = True
        self.seen["inputs"] = self.count
        if self.verb in ("sum", "slow"):
            self.outbox.send(text(f"{self.count}:{self.sum}"))
        if self.verb != "down":
            self.outbox.complete()

    def on_error(self, exception):
        self.seen["inputError"] = str(exception)


class Handler(BaseRequestHandler):
    def __init__(self, seen):
        self.seen = seen

    def tally(self, what):
        self.seen[what] = self.seen.get(what, 0) + 1

    async def request_fire_and_forget(self, payload):
        self.tally("fnf")

    async def on_metadata_push(self, payload):
        self.tally("push")

    async def on_close(self, rsocket, exception=None):
        self.tally("closed")

    async def request_response(self, payload):
        self.tally("requests")
        verb = bytes(payload.data[:40]).split(b" ")[0].decode()
        if verb in ("echo", "idle"):
            return create_future(payload)
        if verb == "auth":
            return create_future(text(authorized(payload)))
        answer = create_future()
        if verb == "never":
            answer.add_done_callback(lambda f: f.cancelled() and self.tally("cancelled"))
        else:
            answer.set_exception(RuntimeError("boom"))
        return answer

    async def request_stream(self, payload):
        verb, n = words(payload)
        end = (lambda s: s.on_error(RuntimeError("boom"))) if verb == "fail" else None
        return Numbers(ALL if verb == "endless" else n, end, lambda: self.tally("cancelled"))

    async def request_channel(self, payload):
        verb, n = words(payload)
        if verb == "down":
            return Numbers(n), Input(self.seen, verb, n, None)
        outbox = Outbox(lambda: self.tally("cancelled"))
        return outbox, Input(self.seen, verb, n, outbox)


def words(payload):
    parts = bytes(payload.data).decode().split(" ")
    return parts[0], int(parts[1]) if len(parts) > 1 else 0


def authorized(payload):
    metadata = CompositeMetadata()
    metadata.parse(payload.metadata)
    tokens = [i.authentication.token.decode() for i in metadata.items if isinstance(i, AuthenticationContent)]
    return f"{require_route(metadata)}|{tokens[0]}"


class Leases(LeasePublisher):
    def subscribe(self, subscriber):
        self.subscriber = subscriber
        self.send(self.first)

    def __init__(self, first):
        self.first = first

    def send(self, n):
        self.subscriber.on_next(DefinedLease(n, timedelta(minutes=1)))


class Peer:
    def __init__(self):
        self.seen, self.server, self.leases, self.sockets = {}, None, None, []

    async def commands(self, lines):
        while line := await lines.get():
            command = json.loads(line)
            try:
                answer = await getattr(self, "do_" + command.pop("op"))(command)
            except Exception as e:
                answer = {"unable": f"{type(e).__name__}: {e}"}
            print(json.dumps(answer), flush=True)

    async def do_seen(self, command):
        return self.seen

    async def do_lease(self, command):
        self.leases.send(command["n"])
        return {}

    async def do_serve(self, c):
        if self.server:
            self.server.close()
        seen = self.seen = {}
        options = {"handler_factory": lambda: Handler(seen), "fragment_size_bytes": c.get("mtu")}
        if c.get("lease"):
            self.leases = options["lease_publisher"] = Leases(c["lease"])

        def accept(reader, writer):
            self.sockets.append(RSocketServer(TransportTCP(reader, writer), **options))

        async def accept_websocket(connection):
            transport = WebSocket(connection)
            self.sockets.append(RSocketServer(transport, **options))
            await transport.read()

        if c["transport"] == "ws":
            self.server = await serve_websocket(accept_websocket, "127.0.0.1", 0, max_size=None)
        else:
            context = None
            if c["transport"] == "tls":
                context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
                context.load_cert_chain(c["cert"], c["key"])
            self.server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        return {"port": self.server.sockets[0].getsockname()[1]}

    async def do_call(self, c):
        if c.get("resume"):
            raise RuntimeError(f"rsocket-py: a client has no resume: {inspect.signature(RSocketClient.__init__)}")
        if c.get("lease") == "fast":
            raise RuntimeError("rsocket-py: requests without a lease always wait")
        call = Call(c)
        return await call.run()


# ---- the requester


class Receiver(DefaultSubscriber):
    """Takes the items of a stream or channel; ended is set at the end."""

    def __init__(self, c, result):
        super().__init__()
        self.c, self.result, self.ended = c, result, asyncio.Event()
        result["ordered"] = True

    def on_next(self, value, is_complete=False):
        if self.ended.is_set():
            return
        r, last = self.result, bytes(value.data).decode()
        r["ordered"] = r["ordered"] and last == str(r["items"])
        r["items"] += 1
        r["last"] = last
        if is_complete:
            self.ended.set()
        elif r["items"] == self.c.get("cancel"):
            self.subscription.cancel()
            self.ended.set()
        elif self.c.get("grant") and r["items"] % self.c["grant"] == 0:
            asyncio.get_running_loop().call_soon(self.subscription.request, self.c["grant"])

    def on_complete(self):
        self.ended.set()

    def on_error(self, exception):
        if not self.ended.is_set():  # the library reports the end of the connection to streams that have ended, too
            self.result["error"] = str(exception)
            self.ended.set()


class Client(BaseRequestHandler):
    """What a client learns of its connection."""

    def __init__(self, closed, result):
        self.closed, self.result = closed, result

    async def on_close(self, rsocket, exception=None):
        self.closed.set()

    async def on_keepalive_timeout(self, time_since_last_keepalive, rsocket):
        self.result["error"] = f"nothing for {time_since_last_keepalive}"
        self.closed.set()


class Call:
    def __init__(self, c):
        self.c, self.closed = c, asyncio.Event()
        self.result = {"items": 0, "ordered": False, "last": "", "error": "", "failed": 0, "sent": 0, "stopped": False}
        self.result["closed"] = False

    async def run(self):
        c = self.c
        options = {"metadata_encoding": COMPOSITE, "data_encoding": WellKnownMimeTypes.APPLICATION_OCTET_STREAM}
        options["keep_alive_period"] = timedelta(milliseconds=c.get("keepAlive") or 20000)
        options["max_lifetime_period"] = timedelta(milliseconds=c.get("lifetime") or 90000)
        provider = single_transport_provider(await self.transport())
        async with RSocketClient(
            provider,
            handler_factory=lambda: Client(self.closed, self.result),
            honor_lease="lease" in c,
            fragment_size_bytes=c.get("mtu"),
            **options,
        ) as socket:
            await getattr(self, c["model"])(socket)
        return self.result

    async def transport(self):
        c = self.c
        if c["transport"] == "ws":
            return WebSocket(await connect_websocket(f"ws://127.0.0.1:{c['port']}/", max_size=None))
        if c["transport"] == "tls":
            context = ssl.create_default_context(cafile=c["cert"])
            return TransportTCP(*await asyncio.open_connection("localhost", c["port"], ssl=context))
        return TransportTCP(*await asyncio.open_connection("127.0.0.1", c["port"]))

    def opening(self):
        data = bytearray(self.c.get("data", "").encode())
        size = self.c.get("size", 0)
        if len(data) < size:
            data += b" "
        letters = bytes(range(97, 123))
        start = len(data) % 26
        fill = (letters * (size // 26 + 2))[start : start + size - len(data)] if size > len(data) else b""
        metadata = None
        if "route" in self.c:
            metadata = composite(route(self.c["route"]), authenticate_bearer(self.c["token"]))
        return Payload(bytes(data) + fill, metadata)

    async def rr(self, socket):
        r = self.result
        if self.c.get("cancel"):
            request = socket.request_response(self.opening())
            await socket.request_response(text("echo"))
            request.cancel()
            await socket.request_response(text("echo"))
            return

        async def one():
            p = self.opening()
            try:
                answer = await socket.request_response(p)
            except Exception as e:
                r["failed"] += 1
                r["error"] = str(e)
                return
            r["items"] += 1
            r["last"] = bytes(answer.data[:100]).decode()
            r["ordered"] = answer.data == p.data

        n = self.c.get("n") or 1
        if "lease" in self.c:
            await asyncio.gather(*(one() for _ in range(n)))
            return
        for _ in range(n):
            await one()

    async def fnf(self, socket):
        await asyncio.gather(*(socket.fire_and_forget(self.opening()) for _ in range(self.c["n"])))
        self.result["sent"] = self.c["n"]
        if "lease" not in self.c:
            await socket.request_response(text("echo"))  # behind them on the wire

    async def stream(self, socket):
        receiver = Receiver(self.c, self.result)
        socket.request_stream(self.opening()).initial_request_n(self.c.get("grant") or ALL).subscribe(receiver)
        await receiver.ended.wait()
        if self.c.get("cancel"):
            await socket.request_response(text("echo"))

    async def channel(self, socket):
        c, r, done = self.c, self.result, asyncio.Event()

        def end(subscriber):
            if c.get("fail"):
                subscriber.on_error(RuntimeError("boom"))
            else:
                subscriber.on_complete()
            done.set()

        def stopped():
            r["stopped"] = True
            done.set()

        numbers = Numbers(c.get("n") or 0, end, stopped, lambda n: r.update(sent=n))
        receiver = Receiver(c, r)
        requester = socket.request_channel(self.opening(), numbers)
        requester.initial_request_n(c.get("grant") or ALL).subscribe(receiver)
        if c.get("fail"):
            await done.wait()
            await socket.request_response(text("echo"))
            return
        await receiver.ended.wait()
        if c.get("cancel") or r["error"]:
            numbers.over = True
            await socket.request_response(text("echo"))
            return
        await done.wait()
        await socket.request_response(text("echo"))  # behind all that was sent

    async def push(self, socket):
        await socket.metadata_push(b"pushed")
        await socket.request_response(text("echo"))

    async def idle(self, socket):
        await socket.request_response(text("idle"))
        await self.closed.wait()
        self.result["closed"] = True


def read(loop, lines):
    for line in sys.stdin:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, "")


async def main():
    logging.getLogger("pyrsocket").setLevel(logging.ERROR)
    lines = asyncio.Queue()
    threading.Thread(target=read, args=(asyncio.get_running_loop(), lines), daemon=True).start()
    await Peer().commands(lines)


asyncio.run(main())
