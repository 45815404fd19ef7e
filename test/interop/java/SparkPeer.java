import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.DataFrameWriter;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.delta.DeltaLog;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Spark with Delta Lake that does to tables what each line of stdin says, a JSON object, and answers with a line: the
 * version, schema and rows of the table then, or an error. The commands are those of ../python/delta_peer.py, and "changes".
 *
 * <p>A row is a JSON object: a float is the bits of its double ("NaN" for every NaN), a decimal a string, bytes are hex, a
 * date is days, a timestamp microseconds since 1970, a map {"$map": [[key, value], ...]}.
 */
public final class SparkPeer {
  private static final ObjectMapper JSON = new ObjectMapper();

  private final SparkSession spark;

  private SparkPeer(SparkSession spark) {
    this.spark = spark;
  }

  public static void main(String[] args) throws Exception {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    System.setOut(System.err); // VACUUM prints
    try (SparkSession spark = session()) {
      spark.sparkContext().setLogLevel("OFF");
      SparkPeer peer = new SparkPeer(spark);
      BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
      out.println("{}"); // ready
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        out.println(JSON.writeValueAsString(peer.answer(JSON.readTree(line))));
      }
    }
  }

  private static SparkSession session() {
    return SparkSession.builder()
        .master("local[2]")
        .appName("weir-conformance")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.datetime.java8API.enabled", "true")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.sql.warehouse.dir", System.getProperty("java.io.tmpdir"))
        // Tables here are tiny: what spreads or compiles work costs more than the work.
        .config("spark.sql.shuffle.partitions", "1")
        .config("spark.default.parallelism", "1")
        .config("spark.sql.sources.parallelPartitionDiscovery.parallelism", "1") // 10,000 tasks of a VACUUM otherwise
        .config("spark.sql.adaptive.enabled", "false")
        .config("spark.sql.codegen.wholeStage", "false")
        .config("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        .config("spark.databricks.delta.snapshotPartitions", "1")
        .config("spark.databricks.delta.retentionDurationCheck.enabled", "false")
        .config("spark.databricks.delta.schema.autoMerge.enabled", "true")
        .config("spark.databricks.delta.typeWidening.enabled", "true")
        .getOrCreate();
  }

  private ObjectNode answer(JsonNode command) {
    try {
      String path = command.path("path").asText();
      if (command.path("op").asText().equals("changes")) {
        return changes(command, path);
      }
      run(command, path);
      return command.path("op").asText().equals("sql") && path.isEmpty()
          ? JSON.createObjectNode()
          : state(path, command.has("at") ? command.get("at").asLong() : -1);
    } catch (Throwable err) {
      StringBuilder message = new StringBuilder(err.toString());
      for (Throwable cause = err.getCause(); cause != null; cause = cause.getCause()) {
        message.append("; ").append(cause);
      }
      return JSON.createObjectNode().put("error", message.substring(0, Math.min(message.length(), 3000)));
    }
  }

  private void run(JsonNode command, String path) throws Exception {
    String table = "delta.`" + path.replace("`", "``") + "`";
    switch (command.get("op").asText()) {
      case "look" -> {}
      case "sql" -> {
        for (JsonNode statement : command.get("sql")) {
          spark.sql(statement.asText()).collectAsList();
        }
      }
      case "append" -> append(command, path);
      case "delete" -> spark.sql("DELETE FROM " + table + " WHERE " + command.get("where").asText());
      case "update" ->
          spark.sql(
              "UPDATE " + table + " SET " + command.get("set").asText() + " WHERE " + command.get("where").asText());
      case "merge" -> merge(command, table);
      case "compact" -> spark.sql("OPTIMIZE " + table);
      case "zorder" -> spark.sql("OPTIMIZE " + table + " ZORDER BY (" + command.get("by").asText() + ")");
      case "restore" -> spark.sql("RESTORE TABLE " + table + " TO VERSION AS OF " + command.get("version").asLong());
      case "vacuum" -> spark.sql("VACUUM " + table + " RETAIN 0 HOURS");
      case "checkpoint" -> DeltaLog.forTable(spark, path).checkpoint();
      default -> throw new IllegalArgumentException("no such operation: " + command);
    }
  }

  private void append(JsonNode command, String path) {
    DataFrameWriter<Row> writer = frame(command).coalesce(1).write().format("delta").mode("append").option("mergeSchema", "true");
    List<String> by = new ArrayList<>();
    command.path("partitionBy").forEach(name -> by.add(name.asText()));
    if (!by.isEmpty()) {
      writer = writer.partitionBy(by.toArray(String[]::new));
    }
    writer.save(path);
  }

  /** Upserts by id; a row with op = 'd' deletes. The columns are those of the source but op. */
  private void merge(JsonNode command, String table) {
    Dataset<Row> source = frame(command);
    source.createOrReplaceTempView("changes");
    List<String> set = new ArrayList<>();
    List<String> names = new ArrayList<>();
    List<String> values = new ArrayList<>();
    for (String name : source.columns()) {
      if (!name.equals("op")) {
        String quoted = "`" + name.replace("`", "``") + "`";
        set.add("t." + quoted + " = s." + quoted);
        names.add(quoted);
        values.add("s." + quoted);
      }
    }
    spark.sql(
        "MERGE INTO " + table + " t USING changes s ON s.id = t.id WHEN MATCHED AND s.op = 'd' THEN DELETE"
            + " WHEN MATCHED THEN UPDATE SET " + String.join(", ", set)
            + " WHEN NOT MATCHED AND s.op <> 'd' THEN INSERT (" + String.join(", ", names) + ") VALUES ("
            + String.join(", ", values) + ")");
  }

  private Dataset<Row> frame(JsonNode command) {
    StructType schema = (StructType) DataType.fromJson(command.get("schema").asText());
    List<Row> rows = new ArrayList<>();
    command.get("rows").forEach(row -> rows.add(row(row, schema)));
    return spark.createDataFrame(rows, schema);
  }

  private static Row row(JsonNode node, StructType type) {
    Object[] values = new Object[type.length()];
    for (int i = 0; i < values.length; i++) {
      StructField field = type.apply(i);
      values[i] = value(node.get(field.name()), field.dataType());
    }
    return RowFactory.create(values);
  }

  private static Object value(JsonNode node, DataType type) {
    if (node == null || node.isNull()) {
      return null;
    } else if (type instanceof StructType struct) {
      return row(node, struct);
    } else if (type instanceof ArrayType array) {
      List<Object> list = new ArrayList<>();
      node.forEach(element -> list.add(value(element, array.elementType())));
      return CollectionConverters.asScala(list).toSeq();
    } else if (type instanceof MapType map) {
      Map<Object, Object> entries = new HashMap<>();
      node.get("$map").forEach(e -> entries.put(value(e.get(0), map.keyType()), value(e.get(1), map.valueType())));
      return CollectionConverters.asScala(entries);
    } else if (type instanceof DecimalType) {
      return new BigDecimal(node.asText());
    } else if (type.equals(DataTypes.DoubleType)) {
      return number(node);
    } else if (type.equals(DataTypes.FloatType)) {
      return (float) number(node);
    } else if (type.equals(DataTypes.ByteType)) {
      return (byte) node.asInt();
    } else if (type.equals(DataTypes.ShortType)) {
      return (short) node.asInt();
    } else if (type.equals(DataTypes.IntegerType)) {
      return node.asInt();
    } else if (type.equals(DataTypes.LongType)) {
      return node.asLong();
    } else if (type.equals(DataTypes.BooleanType)) {
      return node.asBoolean();
    } else if (type.equals(DataTypes.BinaryType)) {
      return HexFormat.of().parseHex(node.asText());
    } else if (type.equals(DataTypes.DateType)) {
      return LocalDate.ofEpochDay(node.asInt());
    } else if (type.equals(DataTypes.TimestampType)) {
      return instant(node.asLong());
    } else if (type.equals(DataTypes.TimestampNTZType)) {
      return LocalDateTime.ofInstant(instant(node.asLong()), ZoneOffset.UTC);
    }
    return node.asText();
  }

  private static double number(JsonNode node) {
    return node.isTextual() ? Double.NaN : Double.longBitsToDouble(node.asLong());
  }

  private static Instant instant(long micros) {
    return Instant.ofEpochSecond(Math.floorDiv(micros, 1_000_000L), Math.floorMod(micros, 1_000_000L) * 1000);
  }

  private ObjectNode state(String path, long version) {
    DeltaLog log = DeltaLog.forTable(spark, path);
    var snapshot = log.update(false, Option.empty(), Option.empty());
    ObjectNode answer = JSON.createObjectNode();
    answer.put("version", version < 0 ? snapshot.version() : version);
    DataFrameReader reader = spark.read().format("delta");
    if (version >= 0) {
      reader = reader.option("versionAsOf", version);
    }
    Dataset<Row> table = reader.load(path);
    answer.put("schema", table.schema().json());
    ArrayNode rows = answer.putArray("rows");
    for (Row row : table.collectAsList()) {
      rows.add(object(row));
    }
    return answer;
  }

  /** What readChangeFeed says of the versions from "from" to "to", in place of the rows. */
  private ObjectNode changes(JsonNode command, String path) {
    Dataset<Row> feed =
        spark
            .read()
            .format("delta")
            .option("readChangeFeed", "true")
            .option("startingVersion", command.get("from").asLong())
            .option("endingVersion", command.get("to").asLong())
            .load(path);
    ObjectNode answer = JSON.createObjectNode();
    answer.put("version", command.get("to").asLong());
    answer.put("schema", feed.schema().json());
    ArrayNode rows = answer.putArray("rows");
    feed.collectAsList().forEach(row -> rows.add(object(row)));
    return answer;
  }

  private static ObjectNode object(Row row) {
    ObjectNode node = JSON.createObjectNode();
    StructType type = row.schema();
    for (int i = 0; i < type.length(); i++) {
      node.set(type.apply(i).name(), plain(row.get(i)));
    }
    return node;
  }

  private static JsonNode plain(Object value) {
    if (value == null) {
      return JSON.nullNode();
    } else if (value instanceof Row row) {
      return object(row);
    } else if (value instanceof scala.collection.Seq<?> elements) {
      ArrayNode array = JSON.createArrayNode();
      CollectionConverters.asJava(elements).forEach(element -> array.add(plain(element)));
      return array;
    } else if (value instanceof scala.collection.Map<?, ?> map) {
      ObjectNode node = JSON.createObjectNode();
      ArrayNode entries = node.putArray("$map");
      CollectionConverters.asJava(map).forEach((k, v) -> entries.addArray().add(plain(k)).add(plain(v)));
      return node;
    } else if (value instanceof Double || value instanceof Float) {
      double number = ((Number) value).doubleValue();
      return Double.isNaN(number)
          ? JSON.getNodeFactory().textNode("NaN")
          : JSON.getNodeFactory().numberNode(Double.doubleToRawLongBits(number));
    } else if (value instanceof BigDecimal decimal) {
      return JSON.getNodeFactory().textNode(decimal.toPlainString());
    } else if (value instanceof byte[] bytes) {
      return JSON.getNodeFactory().textNode(HexFormat.of().formatHex(bytes));
    } else if (value instanceof LocalDate date) {
      return JSON.getNodeFactory().numberNode(date.toEpochDay());
    } else if (value instanceof Instant time) {
      return JSON.getNodeFactory().numberNode(micros(time));
    } else if (value instanceof LocalDateTime time) {
      return JSON.getNodeFactory().numberNode(micros(time.toInstant(ZoneOffset.UTC)));
    }
    return JSON.valueToTree(value);
  }

  private static long micros(Instant time) {
    return Math.addExact(Math.multiplyExact(time.getEpochSecond(), 1_000_000L), time.getNano() / 1000);
  }
}
