import com.google.protobuf.DescriptorProtos.FileDescriptorProto;
import com.google.protobuf.DescriptorProtos.FileDescriptorSet;
import com.google.protobuf.Descriptors.Descriptor;
import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Descriptors.FileDescriptor;
import com.google.protobuf.DynamicMessage;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import io.rsocket.Payload;
import io.rsocket.RSocket;
import io.rsocket.core.RSocketConnector;
import io.rsocket.transport.netty.client.TcpClientTransport;
import io.rsocket.util.DefaultPayload;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.EncoderFactory;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/**
 * Sends the lines of an NDJSON file to weir with rsocket-java as Protobuf or Avro, many records a payload, each behind its
 * length, and prints what was acknowledged.
 *
 * <p>Usage: {@code FormatProducer --port N --file F --format protobuf|avro --set DESCRIPTORS --message NAME [--avsc FILE]}.
 * The lines are read into messages of the descriptor set; records of the Avro schema are made from those.
 */
public final class FormatProducer {
  private static final int BATCH = 500;
  private static final Pattern RECORDS = Pattern.compile("\"records\":(\\d+)");

  public static void main(String[] args) throws Exception {
    Arguments arguments = new Arguments(args);
    Descriptor type = descriptor(Path.of(arguments.text("set")), arguments.text("message"));
    boolean avro = arguments.text("format").equals("avro");
    Schema schema = avro ? new Schema.Parser().parse(Files.readString(Path.of(arguments.text("avsc")))) : null;
    String mime = (avro ? "application/avro" : "application/protobuf") + ";encoding=delimited";

    List<byte[]> payloads = new ArrayList<>();
    long lines = 0;
    try (BufferedReader reader = Files.newBufferedReader(Path.of(arguments.text("file")))) {
      ByteArrayOutputStream payload = new ByteArrayOutputStream();
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        DynamicMessage.Builder builder = DynamicMessage.newBuilder(type);
        JsonFormat.parser().merge(line, builder);
        if (avro) {
          writeAvro(builder.build(), schema, payload);
        } else {
          builder.build().writeDelimitedTo(payload);
        }
        if (++lines % BATCH == 0) {
          payloads.add(payload.toByteArray());
          payload.reset();
        }
      }
      if (payload.size() > 0) {
        payloads.add(payload.toByteArray());
      }
    }
    long acked = send((int) arguments.number("port", 7000), mime, payloads);
    System.out.printf("{\"sent\":%d,\"acked\":%d}%n", lines, acked);
    System.exit(acked == lines ? 0 : 1);
  }

  private static long send(int port, String mime, List<byte[]> payloads) {
    RSocket socket = RSocketConnector.create()
        .metadataMimeType(Metadata.COMPOSITE)
        .dataMimeType(mime)
        .connect(TcpClientTransport.create("127.0.0.1", port))
        .block(Duration.ofSeconds(30));
    Payload opening = DefaultPayload.create(new byte[0], Metadata.routeAndHeader("ingest.stream", "java-formats"));
    Flux<Payload> all = Flux.concat(Mono.just(opening), Flux.fromIterable(payloads).map(DefaultPayload::create));
    long[] acked = {0};
    socket.requestChannel(all).doOnNext(answer -> {
      Matcher m = RECORDS.matcher(answer.getDataUtf8());
      if (m.find()) {
        acked[0] = Math.max(acked[0], Long.parseLong(m.group(1)));
      }
      answer.release();
    }).blockLast(Duration.ofSeconds(300));
    socket.dispose();
    return acked[0];
  }

  private static Descriptor descriptor(Path set, String message) throws Exception {
    Map<String, FileDescriptor> built = new HashMap<>();
    for (FileDescriptorProto file : FileDescriptorSet.parseFrom(Files.readAllBytes(set)).getFileList()) {
      FileDescriptor[] dependencies =
          file.getDependencyList().stream().map(built::get).toArray(FileDescriptor[]::new);
      built.put(file.getName(), FileDescriptor.buildFrom(file, dependencies));
    }
    return built.values().stream()
        .flatMap(f -> f.getMessageTypes().stream())
        .filter(d -> d.getFullName().equals(message))
        .findFirst()
        .orElseThrow();
  }

  private static void writeAvro(Message message, Schema schema, ByteArrayOutputStream out) throws IOException {
    ByteArrayOutputStream record = new ByteArrayOutputStream();
    BinaryEncoder encoder = EncoderFactory.get().directBinaryEncoder(record, null);
    new GenericDatumWriter<Object>(schema).write(value(message, schema), encoder);
    encoder.flush();
    int n = record.size();
    for (; n >= 0x80; n >>>= 7) {
      out.write(n & 0x7f | 0x80);
    }
    out.write(n);
    record.writeTo(out);
  }

  /** The value of a Protobuf field as Avro wants it. */
  private static Object value(Object value, Schema schema) {
    switch (schema.getType()) {
      case UNION:
        return value(value, schema.getTypes().get(1));
      case ARRAY:
        List<Object> list = new ArrayList<>();
        for (Object element : (List<?>) value) {
          list.add(value(element, schema.getElementType()));
        }
        return list;
      case LONG:
        return value instanceof Message time ? micros(time) : value;
      case RECORD:
        Message message = (Message) value;
        GenericData.Record record = new GenericData.Record(schema);
        for (Schema.Field field : schema.getFields()) {
          FieldDescriptor from = message.getDescriptorForType().findFieldByName(field.name());
          if (from.hasPresence() && !message.hasField(from)) {
            record.put(field.name(), null);
          } else {
            record.put(field.name(), value(message.getField(from), field.schema()));
          }
        }
        return record;
      default:
        return value;
    }
  }

  private static long micros(Message time) {
    Descriptor type = time.getDescriptorForType();
    long seconds = (Long) time.getField(type.findFieldByName("seconds"));
    int nanos = (Integer) time.getField(type.findFieldByName("nanos"));
    return seconds * 1_000_000 + nanos / 1000;
  }

  private FormatProducer() {}
}
