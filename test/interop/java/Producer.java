import io.rsocket.Payload;
import io.rsocket.RSocket;
import io.rsocket.core.RSocketConnector;
import io.rsocket.frame.decoder.PayloadDecoder;
import io.rsocket.transport.netty.client.TcpClientTransport;
import io.rsocket.util.DefaultPayload;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Sends the lines of an NDJSON file to weir with rsocket-java and prints what came back, as JSON.
 *
 * <p>Usage: {@code Producer --port N --mode channel|request|fnf --file F [--stream NAME]
 * [--mime application/x-ndjson --lines 100] [--concurrency 1000] [--keepalive 5000] [--lifetime 20000]
 * [--progress 1000]}
 *
 * <p>With {@code --stream} a channel opens with a stream header and an empty payload; without it the first line travels
 * in the opening frame. The channel takes a line from the file only when the responder's REQUEST_N asks for it.
 * {@code --progress} prints a line of figures every so many milliseconds. The last line has {@code "done":true}; the exit
 * status is 0 if everything was sent and, except for fnf, acknowledged.
 */
public final class Producer {
  private final Arguments arguments;
  private final Record record = new Record();

  private Producer(Arguments arguments) {
    this.arguments = arguments;
  }

  public static void main(String[] args) throws Exception {
    Producer producer = new Producer(new Arguments(args));
    boolean ok = producer.run();
    System.out.println(producer.record.summary());
    System.exit(ok ? 0 : 1);
  }

  private boolean run() {
    ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    long progress = arguments.number("progress", 0);
    if (progress > 0) {
      timer.scheduleAtFixedRate(() -> System.out.println(record.progress()), progress, progress, TimeUnit.MILLISECONDS);
    }
    RSocket socket = null;
    try {
      socket = connect();
      send(socket).block(Duration.ofSeconds(arguments.number("deadline", 600)));
    } catch (RuntimeException e) {
      record.fail(e);
    } finally {
      timer.shutdownNow();
      if (socket != null) {
        socket.dispose();
      }
    }
    return record.complete(!arguments.text("mode").equals("fnf"));
  }

  private RSocket connect() {
    return RSocketConnector.create()
        .metadataMimeType(Metadata.COMPOSITE)
        .dataMimeType(arguments.text("mime", "application/json"))
        .payloadDecoder(PayloadDecoder.ZERO_COPY)
        .keepAlive(
            Duration.ofMillis(arguments.number("keepalive", 5000)),
            Duration.ofMillis(arguments.number("lifetime", 20000)))
        .interceptors(registry -> registry.forConnection(record::watch))
        .connect(TcpClientTransport.create("127.0.0.1", (int) arguments.number("port", 7000)))
        .block(Duration.ofSeconds(30));
  }

  private Mono<Void> send(RSocket socket) {
    int concurrency = (int) arguments.number("concurrency", 1000);
    String mode = arguments.text("mode");
    return switch (mode) {
      case "channel" -> channel(socket);
      case "request" -> each("ingest.request")
          .flatMap(payload -> socket.requestResponse(payload).doOnNext(record::answer).onErrorResume(record::refused), concurrency)
          .then();
      case "fnf" -> each("ingest.fire-forget").flatMap(socket::fireAndForget, concurrency).then(barrier(socket));
      default -> throw new IllegalArgumentException("mode " + mode);
    };
  }

  /** Waits for an answer to something harmless: the responder has then read every frame before it. */
  private Mono<Void> barrier(RSocket socket) {
    return socket.requestStream(DefaultPayload.create(new byte[0], Metadata.route("status.watch"))).next().then();
  }

  /** One request for each payload, its route in its metadata. */
  private Flux<Payload> each(String route) {
    byte[] metadata = Metadata.route(route);
    return payloads().map(data -> DefaultPayload.create(data, metadata)).doOnNext(p -> record.sent());
  }

  private Mono<Void> channel(RSocket socket) {
    return socket.requestChannel(opening()).doOnNext(record::answer).then();
  }

  private Flux<Payload> opening() {
    String stream = arguments.text("stream", "");
    byte[] metadata = Metadata.route("ingest.stream");
    if (stream.isEmpty()) {
      return payloads().index((i, data) -> i == 0 ? DefaultPayload.create(data, metadata) : DefaultPayload.create(data))
          .doOnNext(p -> record.sent());
    }
    Payload empty = DefaultPayload.create(new byte[0], Metadata.routeAndHeader("ingest.stream", stream));
    return Flux.concat(Mono.just(empty), payloads().map(DefaultPayload::create).doOnNext(p -> record.sent()));
  }

  /** Reads the file on demand; a payload holds --lines lines. */
  private Flux<byte[]> payloads() {
    int lines = (int) arguments.number("lines", 1);
    return Flux.using(this::open, reader -> Flux.<byte[]>generate(sink -> {
      byte[] next = read(reader, lines);
      if (next == null) {
        record.offeredAll();
        sink.complete();
      } else {
        sink.next(next);
      }
    }), Producer::close);
  }

  private BufferedReader open() throws IOException {
    return Files.newBufferedReader(Path.of(arguments.text("file")));
  }

  private byte[] read(BufferedReader reader, int lines) {
    String text = Stream.generate(() -> line(reader)).limit(lines).takeWhile(l -> l != null)
        .reduce((a, b) -> a + "\n" + b).orElse(null);
    return text == null ? null : text.getBytes(StandardCharsets.UTF_8);
  }

  private String line(BufferedReader reader) {
    try {
      String line = reader.readLine();
      if (line != null) {
        record.lines.incrementAndGet();
      }
      return line;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void close(BufferedReader reader) {
    try {
      reader.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
