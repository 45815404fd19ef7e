import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.CompositeByteBuf;
import io.netty.buffer.Unpooled;
import io.netty.handler.ssl.SslContextBuilder;
import io.rsocket.ConnectionSetupPayload;
import io.rsocket.Payload;
import io.rsocket.RSocket;
import io.rsocket.SocketAcceptor;
import io.rsocket.core.RSocketConnector;
import io.rsocket.core.RSocketServer;
import io.rsocket.core.Resume;
import io.rsocket.lease.Lease;
import io.rsocket.metadata.AuthMetadataCodec;
import io.rsocket.metadata.CompositeMetadata;
import io.rsocket.metadata.CompositeMetadataCodec;
import io.rsocket.metadata.RoutingMetadata;
import io.rsocket.metadata.TaggingMetadataCodec;
import io.rsocket.metadata.WellKnownMimeType;
import io.rsocket.transport.ClientTransport;
import io.rsocket.transport.ServerTransport;
import io.rsocket.transport.netty.client.TcpClientTransport;
import io.rsocket.transport.netty.client.WebsocketClientTransport;
import io.rsocket.transport.netty.server.CloseableChannel;
import io.rsocket.transport.netty.server.TcpServerTransport;
import io.rsocket.transport.netty.server.WebsocketServerTransport;
import io.rsocket.util.DefaultPayload;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.reactivestreams.Publisher;
import org.reactivestreams.Subscription;
import reactor.core.Disposable;
import reactor.core.publisher.BaseSubscriber;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;
import reactor.core.publisher.SignalType;
import reactor.core.publisher.Sinks;
import reactor.netty.tcp.TcpClient;
import reactor.netty.tcp.TcpServer;
import reactor.util.retry.Retry;

/** rsocket-java as a peer of the matrix. The commands are described in wire_test.go. */
public final class Peer implements RSocket {
  private static final Duration PATIENCE = Duration.ofSeconds(100);
  private static final ExecutorService OTHER_TASK =
      Executors.newCachedThreadPool(
          run -> {
            Thread thread = new Thread(run);
            thread.setDaemon(true);
            return thread;
          });

  private static CloseableChannel server;
  private static Peer responder = new Peer();
  private static Sinks.Many<Lease> leases;

  private final Map<String, Object> seen = new TreeMap<>();

  public static void main(String[] args) throws Exception {
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = in.readLine()) != null; ) {
      Command command = new Command(line);
      String answer;
      try {
        answer = json(run(command));
      } catch (Exception e) {
        answer = json(Map.of("unable", String.valueOf(e)));
      }
      System.out.println(answer);
    }
    System.exit(0);
  }

  private static Map<String, Object> run(Command command) throws Exception {
    switch (command.text("op")) {
      case "serve":
        return serve(command);
      case "seen":
        return responder.snapshot();
      case "lease":
        leases.tryEmitNext(Lease.create(Duration.ofMinutes(1), command.number("n")));
        return Map.of();
      default:
        return new Call(command).run();
    }
  }

  // ---- the responder

  private static Map<String, Object> serve(Command c) throws Exception {
    if (server != null) {
      server.dispose();
    }
    responder = new Peer();
    leases = Sinks.many().unicast().onBackpressureBuffer();
    RSocketServer builder = RSocketServer.create(SocketAcceptor.with(responder));
    if (c.number("mtu") > 0) {
      builder.fragment(c.number("mtu"));
    }
    if (c.is("resume")) {
      builder.resume(new Resume());
    }
    if (c.number("lease") > 0) {
      leases.tryEmitNext(Lease.create(Duration.ofMinutes(1), c.number("lease")));
      builder.lease(spec -> spec.sender(() -> leases.asFlux()));
    }
    Peer mine = responder;
    builder.acceptor(
        (setup, socket) -> {
          socket.onClose().doFinally(end -> mine.count("closed")).subscribe(v -> {}, e -> {});
          return Mono.just(mine);
        });
    server = builder.bindNow(listener(c));
    return Map.of("port", server.address().getPort());
  }

  private static ServerTransport<CloseableChannel> listener(Command c) {
    switch (c.text("transport")) {
      case "ws":
        return WebsocketServerTransport.create("127.0.0.1", 0);
      case "tls":
        SslContextBuilder context =
            SslContextBuilder.forServer(new File(c.text("cert")), new File(c.text("key")));
        return TcpServerTransport.create(
            TcpServer.create().host("127.0.0.1").port(0).secure(spec -> spec.sslContext(build(context))));
      default:
        return TcpServerTransport.create("127.0.0.1", 0);
    }
  }

  private static io.netty.handler.ssl.SslContext build(SslContextBuilder builder) {
    try {
      return builder.build();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
  }

  private synchronized void count(String what) {
    seen.merge(what, 1, (a, b) -> (Integer) a + (Integer) b);
  }

  private synchronized void set(String what, Object value) {
    seen.put(what, value);
  }

  private synchronized Map<String, Object> snapshot() {
    return new TreeMap<>(seen);
  }

  private static String verb(Payload p) {
    String text = text(p);
    return text.split(" ", 2)[0];
  }

  private static int argument(Payload p) {
    String[] words = text(p).split(" ");
    return words.length > 1 ? Integer.parseInt(words[1]) : 0;
  }

  private static String text(Payload p) {
    ByteBuf data = p.sliceData();
    return data.toString(data.readerIndex(), Math.min(100, data.readableBytes()), StandardCharsets.UTF_8);
  }

  private static Payload number(int i) {
    return DefaultPayload.create(Integer.toString(i));
  }

  @Override
  public Mono<Void> fireAndForget(Payload payload) {
    payload.release();
    count("fnf");
    return Mono.empty();
  }

  @Override
  public Mono<Void> metadataPush(Payload payload) {
    payload.release();
    count("push");
    return Mono.empty();
  }

  @Override
  public Mono<Payload> requestResponse(Payload payload) {
    count("requests");
    switch (verb(payload)) {
      case "echo":
      case "idle":
        return Mono.just(payload);
      case "auth":
        return Mono.just(DefaultPayload.create(authorized(payload)));
      case "never":
        return Mono.<Payload>never().doOnCancel(() -> count("cancelled"));
      default:
        return Mono.error(new IllegalStateException("boom"));
    }
  }

  private static String authorized(Payload payload) {
    String route = "";
    String token = "";
    for (CompositeMetadata.Entry entry : new CompositeMetadata(payload.metadata(), false)) {
      if (WellKnownMimeType.MESSAGE_RSOCKET_ROUTING.getString().equals(entry.getMimeType())) {
        route = new RoutingMetadata(entry.getContent()).iterator().next();
      } else if (WellKnownMimeType.MESSAGE_RSOCKET_AUTHENTICATION.getString().equals(entry.getMimeType())) {
        AuthMetadataCodec.readWellKnownAuthType(entry.getContent());
        token = new String(AuthMetadataCodec.readBearerTokenAsCharArray(entry.getContent()));
      }
    }
    return route + "|" + token;
  }

  @Override
  public Flux<Payload> requestStream(Payload payload) {
    String verb = verb(payload);
    int n = verb.equals("endless") ? Integer.MAX_VALUE : argument(payload);
    payload.release();
    Flux<Payload> items = Flux.range(0, n).map(Peer::number).doOnCancel(() -> count("cancelled"));
    return verb.equals("fail") ? items.concatWith(Mono.error(new IllegalStateException("boom"))) : items;
  }

  @Override
  public Flux<Payload> requestChannel(Publisher<Payload> payloads) {
    return Flux.from(payloads)
        .switchOnFirst(
            (first, all) -> {
              if (!first.hasValue()) {
                return Flux.error(new IllegalStateException("no opening"));
              }
              String verb = verb(first.get());
              int n = argument(first.get());
              return channel(verb, n, all.skip(1));
            },
            false);
  }

  private Flux<Payload> channel(String verb, int n, Flux<Payload> all) {
    Flux<Payload> in = all.doOnError(e -> set("inputError", String.valueOf(e.getMessage())));
    switch (verb) {
      case "echo":
        return in.doOnCancel(() -> count("cancelled"));
      case "sum":
        return collect(in, Integer.MAX_VALUE);
      case "slow":
        return collect(in, n);
      case "down":
        collect(in, Integer.MAX_VALUE).subscribe(answer -> {}, e -> {});
        return Flux.range(0, n).map(Peer::number);
      case "fail":
        return in.take(n, true).thenMany(Flux.error(new IllegalStateException("boom")));
      default:
        return in.take(n, true).thenMany(Flux.just(DefaultPayload.create("stopped")));
    }
  }

  /** Takes all, grant at a time, each time asked for from another task, and answers "count:sum". */
  private Flux<Payload> collect(Flux<Payload> in, int grant) {
    Sinks.One<Payload> answer = Sinks.one();
    in.subscribe(
        new Asker(grant) {
          long sum;

          @Override
          void item(Payload p) {
            sum += Long.parseLong(p.getDataUtf8());
          }

          @Override
          protected void hookFinally(SignalType type) {
            set("inputs", count);
            answer.tryEmitValue(DefaultPayload.create(count + ":" + sum));
          }

          @Override
          protected void hookOnError(Throwable e) {}
        });
    return answer.asMono().flux();
  }

  /** A subscriber that asks for some items at a time, later, from another task. */
  abstract static class Asker extends BaseSubscriber<Payload> {
    private final int grant;
    int count;

    Asker(int grant) {
      this.grant = grant > 0 ? grant : Integer.MAX_VALUE;
    }

    abstract void item(Payload p);

    @Override
    protected void hookOnSubscribe(Subscription subscription) {
      subscription.request(grant == Integer.MAX_VALUE ? Long.MAX_VALUE : grant);
    }

    @Override
    protected void hookOnNext(Payload p) {
      item(p);
      p.release();
      count++;
      if (grant != Integer.MAX_VALUE && count % grant == 0) {
        OTHER_TASK.execute(() -> request(grant));
      }
    }
  }

  // ---- the requester

  private static final class Call {
    private final Command c;
    private final Map<String, Object> result = new TreeMap<>();

    Call(Command c) {
      this.c = c;
    }

    Map<String, Object> run() {
      RSocketConnector connector =
          RSocketConnector.create()
              .metadataMimeType(WellKnownMimeType.MESSAGE_RSOCKET_COMPOSITE_METADATA.getString());
      if (c.number("mtu") > 0) {
        connector.fragment(c.number("mtu"));
      }
      if (c.number("keepAlive") > 0) {
        connector.keepAlive(Duration.ofMillis(c.number("keepAlive")), Duration.ofMillis(c.number("lifetime")));
      }
      if (c.is("resume")) {
        connector.resume(new Resume().retry(Retry.fixedDelay(1000, Duration.ofMillis(10))));
      }
      if (c.has("lease")) {
        connector.lease(spec -> spec.maxPendingRequests(c.text("lease").equals("fast") ? 0 : 100));
      }
      RSocket socket = connector.connect(transport()).block(PATIENCE);
      try {
        call(socket);
      } finally {
        socket.dispose();
        socket.onClose().onErrorComplete().block(PATIENCE);
      }
      return result;
    }

    private ClientTransport transport() {
      int port = c.number("port");
      switch (c.text("transport")) {
        case "ws":
          return WebsocketClientTransport.create("127.0.0.1", port);
        case "tls":
          SslContextBuilder context = SslContextBuilder.forClient().trustManager(new File(c.text("cert")));
          return TcpClientTransport.create(
              TcpClient.create().host("localhost").port(port).secure(spec -> spec.sslContext(build(context))));
        default:
          return TcpClientTransport.create("127.0.0.1", port);
      }
    }

    private void call(RSocket socket) {
      switch (c.text("model")) {
        case "rr":
          requests(socket);
          break;
        case "fnf":
          forget(socket);
          break;
        case "stream":
          receive(socket.requestStream(opening()));
          break;
        case "channel":
          channel(socket);
          break;
        case "push":
          socket.metadataPush(DefaultPayload.create(Unpooled.EMPTY_BUFFER, Unpooled.copiedBuffer("pushed", StandardCharsets.UTF_8))).block(PATIENCE);
          break;
        default:
          socket.requestResponse(DefaultPayload.create("idle")).block(PATIENCE);
          socket.onClose().onErrorResume(e -> { result.put("error", String.valueOf(e)); return Mono.empty(); }).block(PATIENCE);
          result.put("closed", true);
      }
    }

    private Payload opening() {
      byte[] data = c.text("data").getBytes(StandardCharsets.UTF_8);
      int size = c.number("size");
      if (data.length < size) {
        int at = data.length;
        data = java.util.Arrays.copyOf(data, size);
        data[at++] = ' ';
        for (; at < size; at++) {
          data[at] = (byte) ('a' + at % 26);
        }
      }
      if (!c.has("route")) {
        return DefaultPayload.create(data);
      }
      ByteBufAllocator alloc = ByteBufAllocator.DEFAULT;
      CompositeByteBuf metadata = alloc.compositeBuffer();
      CompositeMetadataCodec.encodeAndAddMetadata(
          metadata, alloc, WellKnownMimeType.MESSAGE_RSOCKET_ROUTING,
          TaggingMetadataCodec.createRoutingMetadata(alloc, List.of(c.text("route"))).getContent());
      CompositeMetadataCodec.encodeAndAddMetadata(
          metadata, alloc, WellKnownMimeType.MESSAGE_RSOCKET_AUTHENTICATION,
          AuthMetadataCodec.encodeBearerMetadata(alloc, c.text("token").toCharArray()));
      return DefaultPayload.create(Unpooled.wrappedBuffer(data), metadata);
    }

    private void requests(RSocket socket) {
      if (c.number("cancel") > 0) {
        Disposable request = socket.requestResponse(opening()).subscribe(p -> {}, e -> {});
        socket.requestResponse(DefaultPayload.create("echo")).block(PATIENCE);
        request.dispose();
        socket.requestResponse(DefaultPayload.create("echo")).block(PATIENCE);
        return;
      }
      int n = Math.max(1, c.number("n"));
      boolean fast = c.has("lease") && c.text("lease").equals("fast");
      List<Mono<Payload>> all = new ArrayList<>();
      for (int i = 0; i < n; i++) {
        Mono<Payload> one = Mono.defer(() -> socket.requestResponse(opening()));
        if (fast && i == 0) { // there is no sign of the first lease but a request that succeeds
          one = one.retryWhen(Retry.fixedDelay(1000, Duration.ofMillis(10)));
        }
        all.add(one.doOnNext(this::answer).onErrorResume(this::failure));
      }
      Flux<Payload> answers = c.has("lease") && !fast ? Flux.merge(Flux.fromIterable(all), 256) : Flux.concat(all);
      answers.then().block(PATIENCE);
    }

    private void answer(Payload p) {
      result.merge("items", 1, (a, b) -> (Integer) a + (Integer) b);
      result.put("last", text(p));
      result.put("ordered", p.data().equals(opening().data()));
    }

    private Mono<Payload> failure(Throwable e) {
      result.merge("failed", 1, (a, b) -> (Integer) a + (Integer) b);
      result.put("error", String.valueOf(e.getMessage()));
      return Mono.empty();
    }

    private void forget(RSocket socket) {
      AtomicInteger failed = new AtomicInteger();
      Flux<Integer> all = Flux.range(0, c.number("n"));
      all.flatMap(i -> socket.fireAndForget(opening()).onErrorResume(e -> { failed.incrementAndGet(); return Mono.empty(); }), 256)
          .then()
          .block(PATIENCE);
      result.put("sent", c.number("n") - failed.get());
      result.put("failed", failed.get());
      if (!c.has("lease")) { // behind them on the wire
        socket.requestResponse(DefaultPayload.create("echo")).block(PATIENCE);
      }
    }

    private void channel(RSocket socket) {
      AtomicInteger sent = new AtomicInteger();
      AtomicBoolean stopped = new AtomicBoolean();
      Flux<Payload> items =
          Flux.range(0, c.number("n")).map(Peer::number).doOnNext(p -> sent.incrementAndGet());
      if (c.is("fail")) {
        items = items.concatWith(Mono.error(new IllegalStateException("boom")));
      }
      CountDownLatch ended = new CountDownLatch(1);
      items = items.doOnCancel(() -> stopped.set(true)).doFinally(end -> ended.countDown());
      receive(socket.requestChannel(Flux.concat(Mono.just(opening()), items)));
      try {
        ended.await();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
      if (c.is("fail") || c.number("cancel") > 0) {
        socket.requestResponse(DefaultPayload.create("echo")).block(PATIENCE);
      }
      result.put("sent", sent.get());
      result.put("stopped", stopped.get());
    }

    private void receive(Flux<Payload> items) {
      CountDownLatch ended = new CountDownLatch(1);
      int cancel = c.number("cancel");
      Asker asker =
          new Asker(c.number("grant")) {
            boolean ordered = true;

            @Override
            void item(Payload p) {
              String text = p.getDataUtf8();
              ordered &= text.equals(Integer.toString(count));
              result.put("last", text);
              if (cancel > 0 && count + 1 == cancel) {
                cancel();
              }
            }

            @Override
            protected void hookOnError(Throwable e) {
              result.put("error", String.valueOf(e.getMessage()));
            }

            @Override
            protected void hookFinally(SignalType type) {
              result.put("ordered", ordered);
              ended.countDown();
            }
          };
      items.subscribe(asker);
      try {
        ended.await();
      } catch (InterruptedException e) {
        throw new CancellationException();
      }
      result.put("items", cancel > 0 ? cancel : asker.count);
    }
  }

  // ---- the commands

  /** A command: a flat JSON object of words and numbers. */
  private static final class Command {
    private static final Pattern MEMBER = Pattern.compile("\"(\\w+)\":(?:\"([^\"]*)\"|(\\w+))");
    private final Map<String, String> members = new TreeMap<>();

    Command(String line) {
      for (Matcher m = MEMBER.matcher(line); m.find(); ) {
        members.put(m.group(1), m.group(2) != null ? m.group(2) : m.group(3));
      }
    }

    boolean has(String name) {
      return members.containsKey(name);
    }

    boolean is(String name) {
      return "true".equals(members.get(name));
    }

    String text(String name) {
      return members.getOrDefault(name, "");
    }

    int number(String name) {
      return Integer.parseInt(members.getOrDefault(name, "0"));
    }
  }

  private static String json(Map<String, Object> members) {
    StringBuilder b = new StringBuilder("{");
    members.forEach(
        (name, value) -> {
          String text = value.toString();
          if (value instanceof String) {
            text = '"' + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("[\\x00-\\x1f]", " ") + '"';
          }
          b.append(b.length() > 1 ? "," : "").append('"').append(name).append("\":").append(text);
        });
    return b.append('}').toString();
  }
}
