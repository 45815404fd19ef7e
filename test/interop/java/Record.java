import io.netty.buffer.ByteBuf;
import io.rsocket.DuplexConnection;
import io.rsocket.Payload;
import io.rsocket.frame.FrameHeaderCodec;
import io.rsocket.frame.FrameType;
import io.rsocket.frame.RequestNFrameCodec;
import io.rsocket.plugins.DuplexConnectionInterceptor;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import reactor.core.publisher.Mono;

/** What a producer did and what it was told, frames included. */
final class Record {
  private static final Pattern NUMBER = Pattern.compile("\"(sequence|records|version)\":(\\d+)");
  private static final int KEPT = 50; // messages and frames that are printed in full

  final AtomicLong lines = new AtomicLong(); // taken from the file
  private final AtomicLong payloads = new AtomicLong(); // handed to rsocket-java
  private final AtomicLong granted = new AtomicLong(); // sum of all REQUEST_N
  private final AtomicLong requestN = new AtomicLong();
  private final AtomicLong keepalives = new AtomicLong();
  private final AtomicLong answers = new AtomicLong();
  private final AtomicLong refusals = new AtomicLong();
  private volatile long sequence;
  private volatile long records;
  private volatile long version;
  private volatile boolean all;
  private final long start = System.nanoTime();
  private final List<String> messages = new ArrayList<>(); // guarded by this
  private final List<String> frames = new ArrayList<>(); // guarded by this

  /** Wraps a connection to see the frames that come in. */
  DuplexConnection watch(DuplexConnectionInterceptor.Type type, DuplexConnection connection) {
    if (type != DuplexConnectionInterceptor.Type.SOURCE) {
      return connection;
    }
    return new TappedConnection(connection, this::frame);
  }

  private void frame(ByteBuf frame) {
    FrameType type = FrameHeaderCodec.frameType(frame);
    if (type == FrameType.KEEPALIVE) {
      keepalives.incrementAndGet();
    } else if (type == FrameType.REQUEST_N) {
      long n = RequestNFrameCodec.requestN(frame);
      granted.addAndGet(n);
      requestN.incrementAndGet();
      keep(frames, String.format("{\"ms\":%d,\"stream\":%d,\"n\":%d}", millis(), FrameHeaderCodec.streamId(frame), n));
    }
  }

  void sent() {
    payloads.incrementAndGet();
  }

  void offeredAll() {
    all = true;
  }

  void answer(Payload payload) {
    String message = payload.getDataUtf8();
    payload.release();
    answers.incrementAndGet();
    if (!message.contains("\"type\":\"ack\"")) {
      keep(messages, message);
      return;
    }
    if (message.contains("\"rejected\"")) {
      refusals.addAndGet(message.split("\"row\":", -1).length - 1);
      keep(messages, message);
    }
    for (Matcher m = NUMBER.matcher(message); m.find(); ) {
      long value = Long.parseLong(m.group(2));
      switch (m.group(1)) {
        case "sequence" -> sequence = value;
        case "records" -> records = value;
        default -> version = value;
      }
    }
  }

  /** Counts a request that was answered by an ERROR frame and goes on. */
  <T> Mono<T> refused(Throwable error) {
    refusals.incrementAndGet();
    keep(messages, error.toString());
    return Mono.empty();
  }

  void fail(Throwable error) {
    keep(messages, "failed: " + error);
    all = false;
  }

  /** Reports whether all lines went out and, if answers are expected, all were acknowledged. */
  boolean complete(boolean answered) {
    return all && refusals.get() == 0 && (!answered || answers.get() >= payloads.get() || sequence >= payloads.get());
  }

  private synchronized void keep(List<String> list, String text) {
    if (list.size() < KEPT) {
      list.add(text);
    }
  }

  private long millis() {
    return (System.nanoTime() - start) / 1_000_000;
  }

  private String figures() {
    return String.format(
        "\"ms\":%d,\"lines\":%d,\"payloads\":%d,\"granted\":%d,\"requestN\":%d,\"keepalives\":%d,\"answers\":%d,"
            + "\"refusals\":%d,\"sequence\":%d,\"records\":%d,\"version\":%d",
        millis(), lines.get(), payloads.get(), granted.get(), requestN.get(), keepalives.get(), answers.get(),
        refusals.get(), sequence, records, version);
  }

  String progress() {
    return "{" + figures() + "}";
  }

  synchronized String summary() {
    List<String> quoted = new ArrayList<>();
    for (String message : messages) {
      quoted.add('"' + message.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n") + '"');
    }
    return "{\"done\":true," + figures() + ",\"messages\":[" + String.join(",", quoted)
        + "],\"frames\":[" + String.join(",", frames) + "]}";
  }
}
