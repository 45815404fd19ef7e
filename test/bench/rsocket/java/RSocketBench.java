import io.rsocket.Payload;
import io.rsocket.RSocket;
import io.rsocket.SocketAcceptor;
import io.rsocket.core.RSocketConnector;
import io.rsocket.core.RSocketServer;
import io.rsocket.frame.decoder.PayloadDecoder;
import io.rsocket.transport.netty.client.TcpClientTransport;
import io.rsocket.transport.netty.server.CloseableChannel;
import io.rsocket.transport.netty.server.TcpServerTransport;
import io.rsocket.util.DefaultPayload;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicLong;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * rsocket-java for the comparison: {@code RSocketBench serve} prints its address and serves until its input ends;
 * {@code RSocketBench drive PORT} takes lines "load n size inFlight" and answers each with "ok".
 */
public final class RSocketBench {
  private static final int CREDIT = 2000;

  public static void main(String[] args) throws Exception {
    if (args[0].equals("serve")) {
      serve();
    } else {
      drive(Integer.parseInt(args[1]));
    }
    System.exit(0);
  }

  private static BufferedReader input() {
    return new BufferedReader(new InputStreamReader(System.in));
  }

  private static void serve() throws Exception {
    AtomicLong forgotten = new AtomicLong();
    CloseableChannel server =
        RSocketServer.create(SocketAcceptor.with(new Counting(forgotten)))
            .payloadDecoder(PayloadDecoder.ZERO_COPY)
            .bindNow(TcpServerTransport.create("127.0.0.1", 0));
    System.out.println("127.0.0.1:" + server.address().getPort());
    while (input().readLine() != null) {}
  }

  /** Takes, counts and drops. */
  private static final class Counting implements RSocket {
    private final AtomicLong forgotten;

    Counting(AtomicLong forgotten) {
      this.forgotten = forgotten;
    }

    @Override
    public Mono<Void> fireAndForget(Payload p) {
      p.release();
      forgotten.incrementAndGet();
      return Mono.empty();
    }

    @Override
    public Mono<Payload> requestResponse(Payload p) {
      if (p.data().readableBytes() != 1) {
        return Mono.just(p);
      }
      p.release();
      return Mono.just(number(forgotten.getAndSet(0)));
    }

    @Override
    public Flux<Payload> requestStream(Payload p) {
      ByteBuffer ask = p.getData();
      int n = ask.getInt();
      byte[] data = new byte[ask.getInt()];
      p.release();
      return Flux.range(0, n).map(i -> DefaultPayload.create(data));
    }

    @Override
    public Flux<Payload> requestChannel(Publisher<Payload> in) {
      // The opening payload carries the first of them.
      return Flux.from(in)
          .limitRate(CREDIT)
          .doOnNext(Payload::release)
          .count()
          .map(RSocketBench::number)
          .flux();
    }
  }

  private static Payload number(long n) {
    return DefaultPayload.create(ByteBuffer.allocate(8).putLong(n).flip());
  }

  private static void drive(int port) throws Exception {
    RSocket socket =
        RSocketConnector.create()
            .payloadDecoder(PayloadDecoder.ZERO_COPY)
            .connect(TcpClientTransport.create("127.0.0.1", port))
            .block();
    BufferedReader lines = input();
    for (String line; (line = lines.readLine()) != null; ) {
      String[] words = line.split(" ");
      int n = Integer.parseInt(words[1]);
      int size = Integer.parseInt(words[2]);
      long got = load(socket, words[0], n, size, Integer.parseInt(words[3]));
      System.out.println(got == n ? "ok" : "counted " + got + ", want " + n);
    }
  }

  private static long load(RSocket socket, String load, int n, int size, int inFlight) {
    byte[] data = new byte[size];
    Flux<Payload> payloads = Flux.range(0, n).map(i -> DefaultPayload.create(data));
    switch (load) {
      case "up":
        return count(socket.requestChannel(payloads).blockLast());
      case "forget":
        payloads.flatMap(socket::fireAndForget, 256).blockLast();
        return count(socket.requestResponse(DefaultPayload.create(new byte[1])).block());
      case "down":
        ByteBuffer ask = ByteBuffer.allocate(8).putInt(n).putInt(size).flip();
        return socket
            .requestStream(DefaultPayload.create(ask))
            .limitRate(CREDIT)
            .doOnNext(Payload::release)
            .count()
            .block();
      case "respond":
        return payloads
            .flatMap(p -> socket.requestResponse(p).doOnNext(Payload::release), inFlight)
            .count()
            .block();
      default:
        throw new IllegalArgumentException(load);
    }
  }

  private static long count(Payload p) {
    try {
      return p.getData().getLong();
    } finally {
      p.release();
    }
  }
}
