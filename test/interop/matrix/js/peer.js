// rsocket-js as a peer of the matrix. The commands are described in wire_test.go.
"use strict";

const fs = require("fs");
const net = require("net");
const readline = require("readline");
const tls = require("tls");
const WebSocket = require("ws");
const { RSocketConnector, RSocketServer } = require("rsocket-core");
const { TcpClientTransport } = require("rsocket-tcp-client");
const { TcpServerTransport } = require("rsocket-tcp-server");
const { WebsocketClientTransport } = require("rsocket-websocket-client");
const { WebsocketServerTransport } = require("rsocket-websocket-server");
const metadata = require("rsocket-composite-metadata");

const ALL = 0x7fffffff;
const ROUTING = metadata.WellKnownMimeType.MESSAGE_RSOCKET_ROUTING;
const AUTHENTICATION = metadata.WellKnownMimeType.MESSAGE_RSOCKET_AUTHENTICATION;

const payload = (text) => ({ data: Buffer.from(text) });
const noop = () => {};

/** A source of the numbers below n: what a library asks for, it gives to the sink. */
class Numbers {
  constructor(n, sink, end) {
    Object.assign(this, { n, sink, end, next: 0, credit: 0, running: false, ended: false });
  }

  request(n) {
    this.credit += n;
    if (this.running || this.ended) return; // the sink has asked for more while it was given some
    this.running = true;
    while (!this.ended && this.credit > 0 && this.next < this.n) {
      this.credit--;
      this.sink.onNext(payload(String(this.next++)), false);
    }
    this.running = false;
    if (!this.ended && this.next === this.n) {
      this.ended = true;
      this.end();
    }
  }

  stop() {
    this.ended = true;
  }
}

/** What a channel's responder sends, as far as it has been asked for. */
class Outbox {
  constructor(stream, credit) {
    Object.assign(this, { stream, credit, waiting: [], over: false, completed: false });
  }

  request(n) {
    this.credit += n;
    this.flush();
  }

  send(p) {
    this.waiting.push(p);
    this.flush();
  }

  complete() {
    this.completed = true;
    this.flush();
  }

  stop() {
    this.over = true;
  }

  flush() {
    while (!this.over && this.credit > 0 && this.waiting.length > 0) {
      this.credit--;
      this.stream.onNext(this.waiting.shift(), false);
    }
    if (!this.over && this.completed && this.waiting.length === 0) {
      this.over = true;
      this.stream.onComplete();
    }
  }
}

// ---- the responder

let server;
let seen = {};

const count = (record, what) => {
  record[what] = (record[what] || 0) + 1;
};

function words(p) {
  const [verb, n] = p.data.subarray(0, 40).toString().split(" ");
  return { verb, n: Number(n) || 0 };
}

function authorized(p) {
  let route = "";
  let token = "";
  for (const entry of metadata.decodeCompositeMetadata(p.metadata)) {
    if (entry.mimeType === ROUTING.string) {
      route = metadata.decodeRoutes(entry.content).next().value;
    } else if (entry.mimeType === AUTHENTICATION.string) {
      token = metadata.decodeAuthMetadata(entry.content).payload.toString();
    }
  }
  return `${route}|${token}`;
}

function responder(record) {
  return {
    fireAndForget(_, stream) {
      count(record, "fnf");
      stream.onComplete();
      return { cancel: noop };
    },
    metadataPush: () => count(record, "push"),
    requestResponse(p, stream) {
      count(record, "requests");
      const { verb } = words(p);
      if (verb === "echo" || verb === "idle") stream.onNext(p, true);
      else if (verb === "auth") stream.onNext(payload(authorized(p)), true);
      else if (verb !== "never") stream.onError(new Error("boom"));
      return { cancel: () => count(record, "cancelled"), onExtension: noop };
    },
    requestStream(p, initial, stream) {
      const { verb, n } = words(p);
      const end = () => (verb === "fail" ? stream.onError(new Error("boom")) : stream.onComplete());
      const numbers = new Numbers(verb === "endless" ? ALL : n, stream, end);
      numbers.request(initial);
      return {
        request: (more) => numbers.request(more),
        cancel() {
          numbers.stop();
          count(record, "cancelled");
        },
        onExtension: noop,
      };
    },
    requestChannel: (p, initial, _, stream) => channel(record, words(p), initial, stream),
  };
}

function channel(record, { verb, n }, initial, stream) {
  const grant = verb === "slow" ? n : 64;
  let inputs = 0;
  let sum = 0;
  let over = false;
  const outbox = new Outbox(stream, initial);
  const end = () => {
    if (over) return;
    over = true;
    record.inputs = inputs;
    if (verb === "sum" || verb === "slow") outbox.send(payload(`${inputs}:${sum}`));
    if (verb !== "down") outbox.complete();
  };
  const reached = () => {
    over = true;
    if (verb === "fail") return stream.onError(new Error("boom"));
    stream.cancel();
    outbox.send(payload("stopped"));
    return outbox.complete();
  };
  setImmediate(() => {
    stream.request(grant);
    if (verb !== "down") return;
    for (let i = 0; i < n; i++) outbox.send(payload(String(i)));
    outbox.complete();
  });
  return {
    onNext(p, complete) {
      if (over) return;
      inputs++;
      sum += Number(p.data.toString());
      if (verb === "echo") outbox.send(p);
      if ((verb === "fail" || verb === "stop") && inputs === n) {
        reached();
        return;
      }
      if (inputs % grant === 0) setImmediate(() => over || stream.request(grant));
      if (complete) end();
    },
    onComplete: end,
    onError(e) {
      over = true;
      record.inputError = String(e.message);
    },
    request: (more) => outbox.request(more),
    cancel() {
      over = true;
      outbox.stop();
      count(record, "cancelled");
    },
    onExtension: noop,
  };
}

async function serve(c) {
  if (c.lease) throw new Error("rsocket-js: a responder cannot send LEASE");
  if (server) server.close();
  const record = (seen = {});
  let listener;
  const tcp = (create) =>
    new TcpServerTransport({
      listenOptions: { host: "127.0.0.1", port: 0 },
      socketCreator: () => (listener = create()),
    });
  const secure = () => {
    const s = tls.createServer({ cert: fs.readFileSync(c.cert), key: fs.readFileSync(c.key), noDelay: true });
    const add = s.addListener.bind(s); // the transport wants sockets with their handshake done
    s.addListener = (event, fn) => add(event === "connection" ? "secureConnection" : event, fn);
    return s;
  };
  const transports = {
    tcp: () => tcp(() => new net.Server({ noDelay: true })),
    tls: () => tcp(secure),
    ws: () =>
      new WebsocketServerTransport({
        wsCreator: () => (listener = new WebSocket.Server({ host: "127.0.0.1", port: 0 })),
      }),
  };
  server = await new RSocketServer({
    transport: transports[c.transport](),
    fragmentation: c.mtu ? { maxOutboundFragmentSize: c.mtu } : undefined,
    resume: c.resume ? { sessionTimeout: 60000 } : undefined,
    acceptor: {
      async accept(_, peer) {
        peer.onClose(() => count(record, "closed"));
        return responder(record);
      },
    },
  }).bind();
  return { port: listener.address().port };
}

// ---- the requester

function transport(c) {
  if (c.transport === "ws") {
    return new WebsocketClientTransport({ url: `ws://127.0.0.1:${c.port}/`, wsCreator: (url) => new WebSocket(url) });
  }
  const connectionOptions = { host: "127.0.0.1", port: c.port, noDelay: true };
  if (c.transport !== "tls") return new TcpClientTransport({ connectionOptions });
  const ca = fs.readFileSync(c.cert);
  return new TcpClientTransport({
    connectionOptions,
    socketCreator: (o) => tls.connect({ ...o, ca, servername: "localhost" }),
  });
}

function connect(c) {
  return new RSocketConnector({
    transport: transport(c),
    setup: {
      metadataMimeType: metadata.WellKnownMimeType.MESSAGE_RSOCKET_COMPOSITE_METADATA.string,
      keepAlive: c.keepAlive || 20000,
      lifetime: c.lifetime || 90000,
    },
    fragmentation: c.mtu ? { maxOutboundFragmentSize: c.mtu } : undefined,
    lease: c.lease ? { maxPendingRequests: c.lease === "fast" ? 0 : 100 } : undefined,
    resume: c.resume
      ? {
          tokenGenerator: () => Buffer.from(`matrix-${process.pid}-${c.port}-${c.model}`),
          reconnectFunction: () => new Promise((resolve) => setTimeout(resolve, 10)),
        }
      : undefined,
  }).connect();
}

function opening(c) {
  let text = c.data || "";
  if (c.size > text.length) text += " ";
  const data = Buffer.alloc(Math.max(c.size || 0, text.length));
  data.write(text);
  for (let i = text.length; i < data.length; i++) data[i] = 97 + (i % 26);
  if (!c.route) return { data };
  const entries = [
    [ROUTING, metadata.encodeRoute(c.route)],
    [AUTHENTICATION, metadata.encodeBearerAuthMetadata(c.token)],
  ];
  return { data, metadata: metadata.encodeCompositeMetadata(entries) };
}

/** Makes a request; started is given what can cancel it. */
function ask(socket, p, started = noop) {
  return new Promise((resolve, reject) => {
    const stream = {
      onNext: resolve,
      onComplete: () => resolve(null),
      onError: reject,
      onExtension: noop,
    };
    started(socket.requestResponse(p, stream));
  });
}

async function requests(socket, c, result) {
  if (c.cancel) {
    let request;
    ask(socket, opening(c), (r) => (request = r)).catch(noop);
    await ask(socket, payload("echo"));
    request.cancel();
    await ask(socket, payload("echo"));
    return;
  }
  const p = opening(c);
  const one = async () => {
    try {
      const answer = await ask(socket, p);
      result.items++;
      result.last = answer.data.subarray(0, 100).toString();
      result.ordered = answer.data.equals(p.data);
    } catch (e) {
      result.failed++;
      result.error = String(e.message);
    }
  };
  const n = c.n || 1;
  if (c.lease === "wait") {
    await Promise.all(Array.from({ length: n }, one));
    return;
  }
  for (let i = 0; i < n; i++) {
    do {
      if (i === 0) result.failed = 0;
      await one(); // there is no sign of the first lease but a request that succeeds
      await new Promise((resolve) => setImmediate(resolve));
    } while (c.lease && i === 0 && result.failed > 0);
  }
}

async function forget(socket, c, result) {
  const one = () =>
    new Promise((resolve) => {
      socket.fireAndForget(opening(c), {
        onComplete() {
          result.sent++;
          resolve();
        },
        onError(e) {
          result.failed++;
          result.error = String(e.message);
          resolve();
        },
      });
    });
  await Promise.all(Array.from({ length: c.n }, one));
  if (!c.lease) await ask(socket, payload("echo")); // behind them on the wire
}

/** The subscriber of a stream or channel; ends is called once. */
function receiver(c, result, ends) {
  result.ordered = true;
  const r = {
    stream: null,
    onNext(p, complete) {
      if (c.cancel && result.items === c.cancel) return;
      const text = p.data.toString();
      result.ordered = result.ordered && text === String(result.items);
      result.last = text;
      result.items++;
      if (complete) return ends();
      if (result.items === c.cancel) {
        r.stream.cancel();
        return ends();
      }
      if (c.grant && result.items % c.grant === 0) setImmediate(() => r.stream.request(c.grant));
    },
    onComplete: ends,
    onError(e) {
      result.error = String(e.message);
      ends();
    },
    onExtension: noop,
  };
  return r;
}

function stream(socket, c, result) {
  return new Promise((resolve) => {
    const r = receiver(c, result, resolve);
    r.stream = socket.requestStream(opening(c), c.grant || ALL, r);
  });
}

async function requestChannel(socket, c, result) {
  let sent;
  const sending = new Promise((resolve) => (sent = resolve));
  await new Promise((resolve) => {
    const r = receiver(c, result, () => {
      if (c.cancel || result.error) numbers.stop(), sent();
      resolve();
    });
    const numbers = new Numbers(
      c.n || 0,
      { onNext: (p) => r.stream.onNext(p, false) },
      () => {
        if (c.fail) {
          r.stream.onError(new Error("boom"));
          resolve();
        } else r.stream.onComplete();
        sent();
      }
    );
    r.request = (n) => {
      numbers.request(n);
      result.sent = numbers.next;
    };
    r.cancel = () => {
      result.stopped = true;
      numbers.stop();
      sent();
    };
    r.stream = socket.requestChannel(opening(c), c.grant || ALL, false, r);
  });
  await sending;
  if (c.cancel || c.fail) await ask(socket, payload("echo"));
}

const models = {
  rr: requests,
  fnf: forget,
  stream,
  channel: requestChannel,
  push: (socket) =>
    new Promise((resolve, reject) => {
      socket.metadataPush(Buffer.from("pushed"), { onComplete: resolve, onError: reject });
    }),
  async idle(socket, _, result) {
    const closed = new Promise((resolve) => socket.onClose(resolve));
    await ask(socket, payload("idle"));
    const error = await closed;
    result.error = String(error && error.message);
    result.closed = true;
  },
};

async function call(c) {
  const result = { items: 0, ordered: false, last: "", error: "", failed: 0, sent: 0, stopped: false, closed: false };
  const socket = await connect(c);
  const closed = new Promise((resolve) => socket.onClose(resolve));
  try {
    await models[c.model](socket, c, result);
  } finally {
    socket.close();
  }
  if (!c.resume) await closed;
  return result;
}

// ---- the commands

const commands = { serve, call, seen: async () => seen };

async function main() {
  process.on("uncaughtException", (e) => process.stderr.write(`${e.stack}\n`));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const c = JSON.parse(line);
    let answer;
    try {
      answer = await commands[c.op](c);
    } catch (e) {
      answer = { unable: String(e.message || e) };
    }
    process.stdout.write(JSON.stringify(answer) + "\n");
  }
  process.exit(0);
}

main();
