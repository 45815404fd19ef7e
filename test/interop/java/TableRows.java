import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Prints the number of rows of Delta tables and their hash, as Spark reads them: a JSON object a line for each table.
 * The canonical text of a row is that of ../python/canon.py.
 *
 * <p>Usage: {@code TableRows TABLE...}
 */
public final class TableRows {
  private static final String SYSTEM = "_weir_";

  public static void main(String[] tables) throws Exception {
    try (SparkSession spark = session()) {
      for (String table : tables) {
        System.out.println(report(spark.read().format("delta").load(table)));
      }
    }
  }

  private static SparkSession session() {
    return SparkSession.builder()
        .master("local[2]")
        .appName("weir-interop")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.datetime.java8API.enabled", "true")
        .config("spark.databricks.delta.snapshotPartitions", "2")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .getOrCreate();
  }

  private static String report(Dataset<Row> table) throws Exception {
    List<byte[]> lines = new ArrayList<>();
    for (Row row : table.collectAsList()) {
      StringBuilder line = new StringBuilder();
      struct(line, row);
      lines.add(line.toString().getBytes(StandardCharsets.UTF_8));
    }
    lines.sort(Arrays::compareUnsigned);
    MessageDigest hash = MessageDigest.getInstance("SHA-256");
    for (byte[] line : lines) {
      hash.update(line);
      hash.update((byte) '\n');
    }
    return String.format("{\"rows\":%d,\"sha256\":\"%s\"}", lines.size(), HexFormat.of().formatHex(hash.digest()));
  }

  private static void struct(StringBuilder to, Row row) {
    StructType type = row.schema();
    Integer[] order = new Integer[type.length()];
    Arrays.setAll(order, i -> i);
    Arrays.sort(order, (a, b) -> Arrays.compareUnsigned(name(type, a), name(type, b)));
    to.append('{');
    boolean first = true;
    for (int i : order) {
      StructField field = type.apply(i);
      if (row.isNullAt(i) || field.name().startsWith(SYSTEM)) {
        continue;
      }
      if (!first) {
        to.append(',');
      }
      first = false;
      string(to, field.name());
      to.append(':');
      value(to, row.get(i));
    }
    to.append('}');
  }

  private static byte[] name(StructType type, int i) {
    return type.apply(i).name().getBytes(StandardCharsets.UTF_8);
  }

  private static void value(StringBuilder to, Object value) {
    if (value == null || value instanceof Boolean || value instanceof Long || value instanceof Integer) {
      to.append(value);
    } else if (value instanceof String text) {
      string(to, text);
    } else if (value instanceof Double number) {
      to.append('f').append(HexFormat.of().toHexDigits(Double.doubleToRawLongBits(number)));
    } else if (value instanceof Instant time) {
      long micros = Math.addExact(Math.multiplyExact(time.getEpochSecond(), 1_000_000L), time.getNano() / 1000);
      to.append('t').append(micros);
    } else if (value instanceof java.time.LocalDate date) {
      to.append('D').append(date.toEpochDay());
    } else if (value instanceof Row row) {
      struct(to, row);
    } else if (value instanceof scala.collection.Seq<?> elements) {
      array(to, CollectionConverters.asJava(elements));
    } else {
      throw new IllegalArgumentException("no canonical text for " + value.getClass());
    }
  }

  private static void array(StringBuilder to, List<?> elements) {
    to.append('[');
    for (int i = 0; i < elements.size(); i++) {
      if (i > 0) {
        to.append(',');
      }
      value(to, elements.get(i));
    }
    to.append(']');
  }

  private static void string(StringBuilder to, String text) {
    to.append('"');
    for (int i = 0; i < text.length(); i++) {
      char c = text.charAt(i);
      switch (c) {
        case '"' -> to.append("\\\"");
        case '\\' -> to.append("\\\\");
        case '\n' -> to.append("\\n");
        case '\r' -> to.append("\\r");
        case '\t' -> to.append("\\t");
        case '\b' -> to.append("\\b");
        case '\f' -> to.append("\\f");
        default -> {
          if (c < ' ') {
            to.append(String.format("\\u%04x", (int) c));
          } else {
            to.append(c);
          }
        }
      }
    }
    to.append('"');
  }

  private TableRows() {}
}
