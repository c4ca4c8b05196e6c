# SPDX-License-Identifier: Apache-2.0
"""A gRPC service of bytes, by the library that everybody has."""
import concurrent.futures
import threading

import grpc


class Service:
    """A generic one of bytes: /test.Echo/..., and what it saw."""

    def __init__(self):
        self.started, self.cancelled = [], threading.Event()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Down": grpc.unary_stream_rpc_method_handler(self.down),
            "Up": grpc.stream_unary_rpc_method_handler(self.up),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Hang": grpc.unary_stream_rpc_method_handler(self.hang),
        }
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", methods),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def stop(self):
        self.server.stop(None)

    release = stop

    def unary(self, request, context):
        self.started.append(context.time_remaining())
        context.set_trailing_metadata((("x-tail", "seen"),))
        return b"own " + request

    def down(self, request, _):
        for turn in range(int(request)):
            yield b"%d" % turn

    def up(self, requests, _):
        return b",".join(requests)

    def both(self, requests, _):
        for request in requests:
            yield request.upper()

    def fail(self, request, context):
        context.abort(grpc.StatusCode[request.decode()], "as asked")

    def hang(self, _, context):
        context.add_callback(self.cancelled.set)
        yield b"begun"
        self.cancelled.wait(20)
