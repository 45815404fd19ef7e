import io.netty.buffer.ByteBuf;
import io.netty.buffer.ByteBufAllocator;
import io.rsocket.DuplexConnection;
import io.rsocket.RSocketErrorException;
import java.net.SocketAddress;
import java.util.function.Consumer;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A connection that shows each frame that comes in, before rsocket-java sees it. */
final class TappedConnection implements DuplexConnection {
  private final DuplexConnection connection;
  private final Consumer<ByteBuf> tap;

  TappedConnection(DuplexConnection connection, Consumer<ByteBuf> tap) {
    this.connection = connection;
    this.tap = tap;
  }

  @Override
  public Flux<ByteBuf> receive() {
    return connection.receive().doOnNext(tap);
  }

  @Override
  public void sendFrame(int streamId, ByteBuf frame) {
    connection.sendFrame(streamId, frame);
  }

  @Override
  public void sendErrorAndClose(RSocketErrorException error) {
    connection.sendErrorAndClose(error);
  }

  @Override
  public ByteBufAllocator alloc() {
    return connection.alloc();
  }

  @Override
  public SocketAddress remoteAddress() {
    return connection.remoteAddress();
  }

  @Override
  public Mono<Void> onClose() {
    return connection.onClose();
  }

  @Override
  public void dispose() {
    connection.dispose();
  }

  @Override
  public boolean isDisposed() {
    return connection.isDisposed();
  }
}
