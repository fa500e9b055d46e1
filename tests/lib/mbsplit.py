"""Sends input in pieces. Each piece is sent when the one before has been received, so that the receiver sees exactly
these pieces. This works on Unix sockets only, whose sender can see what was received; and not before a first request of
HTTP/1.1, as mb-handle keeps the last byte of its input unread until then."""

import array
import fcntl
import termios
import time

from mbtest import DEADLINE, Failed


def unread(sock):
    """Returns whether the other end still has something to receive."""
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0] > 0


def received(sock):
    """Waits until the other end has received everything."""
    deadline = time.monotonic() + DEADLINE
    while unread(sock):
        if time.monotonic() > deadline:
            raise Failed(f"what was sent is not received within {DEADLINE} s")
        time.sleep(0)


def in_pieces(sock, *pieces):
    """Sends the pieces one by one; the last may still be on its way. Returns whether the other end took all of them."""
    try:
        for piece in pieces[:-1]:
            if piece:
                sock.sendall(piece)
                received(sock)
        sock.sendall(pieces[-1])
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def by_bytes(sock, data):
    return in_pieces(sock, *(data[i : i + 1] for i in range(len(data))))
