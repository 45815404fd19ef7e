import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.netty.buffer.ByteBufUtil;
import io.netty.buffer.CompositeByteBuf;
import io.rsocket.metadata.CompositeMetadataCodec;
import io.rsocket.metadata.TaggingMetadataCodec;
import io.rsocket.metadata.WellKnownMimeType;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;

/** Composite metadata as weir's wire contract wants it. */
final class Metadata {
  static final String COMPOSITE = WellKnownMimeType.MESSAGE_RSOCKET_COMPOSITE_METADATA.getString();
  private static final String HEADER = "application/vnd.weir.stream+json";

  static byte[] route(String route) {
    return bytes(withRoute(route));
  }

  static byte[] routeAndHeader(String route, String stream) {
    String header = String.format(
        "{\"producer\":\"rsocket-java\",\"incarnation\":\"%s\",\"stream\":\"%s\",\"epoch\":1,\"ack\":\"committed\",\"k\":0,\"reopen\":false}",
        UUID.randomUUID(), stream);
    CompositeByteBuf metadata = withRoute(route);
    ByteBuf content = ByteBufAllocator.DEFAULT.buffer().writeBytes(header.getBytes(StandardCharsets.UTF_8));
    CompositeMetadataCodec.encodeAndAddMetadata(metadata, ByteBufAllocator.DEFAULT, HEADER, content);
    return bytes(metadata);
  }

  private static CompositeByteBuf withRoute(String route) {
    CompositeByteBuf metadata = ByteBufAllocator.DEFAULT.compositeBuffer();
    ByteBuf tags = TaggingMetadataCodec.createRoutingMetadata(ByteBufAllocator.DEFAULT, List.of(route)).getContent();
    CompositeMetadataCodec.encodeAndAddMetadata(
        metadata, ByteBufAllocator.DEFAULT, WellKnownMimeType.MESSAGE_RSOCKET_ROUTING, tags);
    return metadata;
  }

  private static byte[] bytes(ByteBuf buffer) {
    byte[] bytes = ByteBufUtil.getBytes(buffer);
    buffer.release();
    return bytes;
  }

  private Metadata() {}
}
