"""The services among docs/examples under test, as web_services.py and web_chat.py start them and ask them."""

import concurrent.futures
import contextlib
import os

import mbpool
import mbtest
from mbhttp import Connection, request
from mbtest import equal


def example(name):
    return os.path.join(mbtest.SRCDIR, "docs", "examples", name + ".lua")


def serve(name, *args):
    """A pool for an example with arguments."""
    return mbpool.Pool(args[-1], example(name), *args[:-1]).ready()


def ask(pool, method, target, body=None, *headers):
    """The response to a request on a connection of its own."""
    with Connection(pool.where) as client:
        client.send(request(target, method, body, ["Connection: close", *headers]))
        return client.response(method)


@contextlib.contextmanager
def alone(name, *args):
    """A connection that a process of its own serves, as a service manager starts it. Nothing is logged."""
    client, conn = mbtest.tcp_pair()
    with conn, Connection(client) as connection:
        child = mbtest.Serving(conn, example(name), *args)
        yield connection
        connection.sock.close()
        equal((child.wait(), child.log()), (0, ""), "exit status and log")


def at_once(count, function):
    """Calls function(0) to function(count - 1) in threads. Returns the results."""
    with concurrent.futures.ThreadPoolExecutor(count) as threads:
        return list(threads.map(function, range(count)))
