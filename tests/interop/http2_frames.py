"""A raw HTTP/2 client for what no gRPC client would do: frames by hand, windows that stay shut, pings at will."""
import socket
import struct

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW_SIZE = 4


def text(value):
    """A string of HPACK: plain, its length as a prefix integer of 7 bits."""
    data = value.encode()
    if len(data) < 127:
        return bytes([len(data)]) + data
    rest, prefix = len(data) - 127, bytearray([127])
    while rest >= 128:
        prefix.append(rest % 128 + 128)
        rest //= 128
    prefix.append(rest)
    return bytes(prefix) + data


def headers(path, *more):
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"),
              ("content-type", "application/grpc"), ("te", "trailers"), *more]
    return b"".join(b"\x00" + text(name) + text(value) for name, value in fields)


class Connection:
    def __init__(self, address, settings=(), timeout=10):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout)
        self.received = b""
        self.next_stream = 1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in settings))

    def close(self):
        self.socket.close()

    def send(self, kind, flags, stream, payload=b""):
        self.socket.sendall(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) +
                            struct.pack(">I", stream) + payload)

    def call(self, path, message=None, *more, compressed=False):
        """Opens a call; with a message, sends it whole and half closes. Returns the stream's number."""
        stream = self.next_stream
        self.next_stream += 2
        self.send(HEADERS, END_HEADERS, stream, headers(path, *more))
        if message is not None:
            data = bytes([compressed]) + struct.pack(">I", len(message)) + message
            for at in range(0, len(data), 16384):
                last = at + 16384 >= len(data)
                self.send(DATA, END_STREAM if last else 0, stream, data[at:at + 16384])
        return stream

    def frame(self):
        """The next frame, (kind, flags, stream, payload); None when the connection is closed."""
        while len(self.received) < 9 or len(self.received) < 9 + self.length():
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.received += data
        length = self.length()
        head, payload = self.received[:9], self.received[9:9 + length]
        self.received = self.received[9 + length:]
        frame = head[3], head[4], struct.unpack(">I", head[5:9])[0], payload
        if frame[0] == SETTINGS and not frame[1] & ACK:
            self.send(SETTINGS, ACK, 0)
        if frame[0] == PING and not frame[1] & ACK:
            self.send(PING, ACK, 0, payload)
        return frame

    def length(self):
        return int.from_bytes(self.received[:3], "big")

    def frames_until(self, wanted):
        """The next frame for which wanted(kind, flags, stream, payload) holds; None when it closes before."""
        while True:
            frame = self.frame()
            if frame is None or wanted(*frame):
                return frame
