// Sends the lines of an NDJSON file to weir with rsocket-js: produce.js PORT FILE channel|stream|request
//
// channel is ingest.stream without a header, stream the same with one. Prints {"sent": n, "acked": n, "messages": [...]}.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const {
  BufferEncoders,
  MESSAGE_RSOCKET_COMPOSITE_METADATA,
  MESSAGE_RSOCKET_ROUTING,
  RSocketClient,
  encodeCompositeMetadata,
  encodeRoute,
} = require('rsocket-core');
const {Flowable} = require('rsocket-flowable');
const {default: TcpClient} = require('rsocket-tcp-client');

const STREAM_HEADER = 'application/vnd.weir.stream+json';
const EVERYTHING = 0x7fffffff;

function metadata(route, header) {
  const entries = [[MESSAGE_RSOCKET_ROUTING, encodeRoute(route)]];
  if (header) {
    entries.push([STREAM_HEADER, Buffer.from(JSON.stringify(header))]);
  }
  return encodeCompositeMetadata(entries);
}

// pulled is a Flowable that hands out what request(n) asks for.
function pulled(payloads) {
  return new Flowable((subscriber) => {
    let next = 0;
    subscriber.onSubscribe({
      cancel: () => {
        next = payloads.length;
      },
      request: (n) => {
        for (; n > 0 && next < payloads.length; n--) {
          subscriber.onNext(payloads[next++]);
          if (next === payloads.length) {
            subscriber.onComplete();
          }
        }
      },
    });
  });
}

function channel(socket, lines, header) {
  const payloads = lines.map((data) => ({data}));
  const opening = metadata('ingest.stream', header);
  if (header) {
    payloads.unshift({data: Buffer.alloc(0), metadata: opening});
  } else {
    payloads[0].metadata = opening;
  }
  return new Promise((resolve, reject) => {
    const messages = [];
    let acked = 0;
    socket.requestChannel(pulled(payloads)).subscribe({
      onSubscribe: (subscription) => subscription.request(EVERYTHING),
      onNext: ({data}) => {
        const message = JSON.parse(data.toString());
        messages.push(message);
        acked = Math.max(acked, message.sequence || 0);
      },
      onComplete: () => resolve({acked, messages}),
      onError: reject,
    });
  });
}

async function requests(socket, lines) {
  const route = metadata('ingest.request');
  const answers = await Promise.all(lines.map((data) => socket.requestResponse({data, metadata: route})));
  const messages = answers.map(({data}) => JSON.parse(data.toString()));
  return {acked: messages.reduce((sum, m) => sum + m.records, 0), messages: messages.slice(0, 3)};
}

async function main(port, file, mode) {
  const lines = fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => Buffer.from(line));
  const client = new RSocketClient({
    setup: {
      dataMimeType: 'application/json',
      metadataMimeType: MESSAGE_RSOCKET_COMPOSITE_METADATA.string,
      keepAlive: 5000,
      lifetime: 20000,
    },
    transport: new TcpClient({host: '127.0.0.1', port: Number(port)}, BufferEncoders),
  });
  const socket = await client.connect();
  const id = crypto.randomUUID();
  const header = {producer: 'rsocket-js', incarnation: id, stream: `js-${id}`, epoch: 1, ack: 'committed', k: 0, reopen: false};
  const result = mode === 'request' ? await requests(socket, lines) : await channel(socket, lines, mode === 'stream' && header);
  client.close();
  console.log(JSON.stringify({sent: lines.length, ...result}));
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
