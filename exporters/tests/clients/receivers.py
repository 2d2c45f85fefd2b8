"""Receives what the exporters send with other people's code, and checks it: `receivers.py PATH_OF_EXAMPLE_DELIVER`.

- Moesif: a collector whose events are parsed by Moesif's own models (moesifapi).
- OTLP: a gRPC server of the official generated stubs (opentelemetry-proto, grpcio), and an HTTP server that parses with the official messages.
  Every attribute and metric that is not the gateway's own must be a name of the published conventions (opentelemetry-semantic-conventions).
"""

import datetime
import gzip
import json
import pathlib
import re
import subprocess
import sys
import threading
from concurrent import futures
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import opentelemetry.semconv
from moesifapi.models import CompanyModel, EventModel, UserModel
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

DELIVER = sys.argv[1]
CALL = "01938f00-0000-7000-8000-000000000001"


def deliver(kind, url):
    subprocess.run([DELIVER, kind, url], check=True, timeout=60)


class Collector(BaseHTTPRequestHandler):
    """Keeps what it is sent by path; answers as the far side of each path does."""

    def do_GET(self):
        self.answer(200, b'{"sample_rate": 100}')

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["content-encoding"] == "gzip"
        self.server.got.setdefault(self.path, []).append((self.headers, gzip.decompress(body)))
        self.answer(201 if self.headers["content-type"] == "application/json" else 200, b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("X-Moesif-Config-ETag", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    server.got = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def moesif():
    server, url = serve()
    deliver("moesif", url)
    parsed = {}
    for path, requests in server.got.items():
        assert all(headers["X-Moesif-Application-Id"] == "app-1" for headers, _ in requests)
        parsed[path] = [item for _, body in requests for item in json.loads(body, parse_float=Decimal)]
    models = {"/v1/events/batch": EventModel, "/v1/users/batch": UserModel, "/v1/companies/batch": CompanyModel}
    for path, model in models.items():
        for item in parsed[path]:
            unknown = item.keys() - model.from_dictionary(item).names.keys()
            # The API reference has these; the library's model, which is that of a server's middleware, has not.
            assert unknown <= {"trace_id", "subscription_id"}, (path, unknown)
    event = EventModel.from_dictionary(parsed["/v1/events/batch"][0])
    assert (event.transaction_id, event.direction, event.weight) == (CALL, "Outgoing", 1)
    assert (event.user_id, event.company_id, event.session_token) == ("ann", "growth", "s-1")
    assert (event.request.verb, event.response.status) == ("POST", 200)
    assert (event.response.time - event.request.time).total_seconds() == 1.5
    costs = [item["metadata"]["ai_context"]["cost_metrics"]["total_cost"] for path in ("/v1/events/batch", "/v1/actions/batch") for item in parsed[path]]
    assert sum(costs) == Decimal("0.0001"), costs
    as_their_plugin_does(parsed["/v1/events/batch"][0])
    print("moesif: parsed by moesifapi's models")


def as_their_plugin_does(event):
    """What moesif-litellm (1.0.3, which needs LiteLLM's 200 MB) makes of the same call without bodies is kept in a file: its `build_moesif_event`."""
    theirs = json.loads((pathlib.Path(__file__).parent / "moesif-litellm.json").read_text())
    EventModel.from_dictionary(theirs)
    # Of its fields ours has no metadata by its name; nulls may be left out.
    for ours, model in ((event, theirs), (event["request"], theirs["request"]), (event["response"], theirs["response"])):
        wanted = {name for name, value in model.items() if value is not None}
        assert wanted <= ours.keys(), wanted - ours.keys()
        for name in wanted - {"metadata", "request", "response", "uri", "headers", "time"}:
            assert ours[name] == model[name], (name, ours[name], model[name])
    times = [datetime.datetime.fromisoformat(part["time"].replace("Z", "+00:00")) for of in (event, theirs) for part in (of["request"], of["response"])]
    assert times[1] - times[0] == times[3] - times[2], times


def conventions():
    """Every name that the published conventions know, of attributes and of metrics. Read as text: the incubating ones are no package."""
    (path,) = opentelemetry.semconv.__path__
    text = "".join(file.read_text() for file in pathlib.Path(path).rglob("*.py"))
    names = set(re.findall(r'^[A-Z0-9_]+: Final = \(?\s*"([^"]+)"', text, re.MULTILINE))
    return names | set(re.findall(r'^    [A-Z0-9_]+ = "([^"]+)"', text, re.MULTILINE))


def check_otlp(traces, logs, metrics):
    (traces,), (logs,), (metrics,) = traces, logs, metrics
    known, used = conventions(), set()
    for resource in (traces.resource_spans[0].resource, logs.resource_logs[0].resource, metrics.resource_metrics[0].resource):
        attributes = {item.key: item.value.string_value for item in resource.attributes}
        assert (attributes["service.name"], attributes["service.instance.id"]) == ("tollgate", "gw-1")
        used |= attributes.keys()
    server, client = traces.resource_spans[0].scope_spans[0].spans
    assert (server.kind, client.kind, client.name) == (2, 3, "chat gpt-5")
    assert client.parent_span_id == server.span_id and server.parent_span_id.hex() == "00f067aa0ba902b7"
    assert client.trace_id == server.trace_id and server.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    records = logs.resource_logs[0].scope_logs[0].log_records
    assert [record.event_name for record in records] == ["gen_ai.client.inference.operation.details", "tollgate.correction", "tollgate.correction"]
    sums = {}
    for metric in metrics.resource_metrics[0].scope_metrics[0].metrics:
        data = getattr(metric, metric.WhichOneof("data"))
        used |= {item.key for point in data.data_points for item in point.attributes} | {metric.name}
        if metric.WhichOneof("data") == "sum":
            assert data.is_monotonic
            sums[metric.name] = sum(point.as_int for point in data.data_points)
        else:
            assert all(point.count == point.zero_count + sum(point.positive.bucket_counts) for point in data.data_points)
    assert sums == {"tollgate.cost": 223_456_789, "tollgate.cost.taken_back": 123_456_789}, sums
    used |= {item.key for item in [*server.attributes, *client.attributes, *(item for record in records for item in record.attributes)]}
    unknown = {name for name in used if not name.startswith("tollgate.")} - known
    assert not unknown, f"not in the conventions: {unknown}"


def otlp_grpc():
    got = {"traces": [], "logs": [], "metrics": []}

    def export(name, response):
        def handler(_self, request, _context):
            got[name].append(request)
            return response()

        return handler

    server = grpc.server(futures.ThreadPoolExecutor(4))
    for name, base, add, response in (
        ("traces", trace_service_pb2_grpc.TraceServiceServicer, trace_service_pb2_grpc.add_TraceServiceServicer_to_server, trace_service_pb2.ExportTraceServiceResponse),
        ("logs", logs_service_pb2_grpc.LogsServiceServicer, logs_service_pb2_grpc.add_LogsServiceServicer_to_server, logs_service_pb2.ExportLogsServiceResponse),
        ("metrics", metrics_service_pb2_grpc.MetricsServiceServicer, metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server, metrics_service_pb2.ExportMetricsServiceResponse),
    ):
        add(type(name, (base,), {"Export": export(name, response)})(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    deliver("otlp-grpc", f"http://127.0.0.1:{port}")
    server.stop(None)
    check_otlp(**got)
    print("otlp over gRPC: received by the official stubs")


def otlp_http():
    server, url = serve()
    deliver("otlp-http", url)

    def read(path, message):
        return [message.FromString(body) for _, body in server.got[path]]

    check_otlp(
        read("/v1/traces", trace_service_pb2.ExportTraceServiceRequest),
        read("/v1/logs", logs_service_pb2.ExportLogsServiceRequest),
        read("/v1/metrics", metrics_service_pb2.ExportMetricsServiceRequest),
    )
    print("otlp over HTTP: parsed by the official messages")


moesif()
otlp_grpc()
otlp_http()
