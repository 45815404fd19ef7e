import java.util.HashMap;
import java.util.Map;

/** The {@code --name value} pairs of a command line. */
final class Arguments {
  private final Map<String, String> values = new HashMap<>();

  Arguments(String[] args) {
    if (args.length % 2 != 0) {
      throw new IllegalArgumentException("every argument is --name value");
    }
    for (int i = 0; i < args.length; i += 2) {
      values.put(args[i].substring("--".length()), args[i + 1]);
    }
  }

  String text(String name) {
    String value = values.get(name);
    if (value == null) {
      throw new IllegalArgumentException("--" + name + " is missing");
    }
    return value;
  }

  String text(String name, String fallback) {
    return values.getOrDefault(name, fallback);
  }

  long number(String name, long fallback) {
    return Long.parseLong(text(name, Long.toString(fallback)));
  }
}
