"""A stand-in for mhad's API, for the tests of mha-shell only.

It speaks the shell's side of the API (status, nodes, groups, vips, events with long poll, orders) with canned state, and can be told to refuse, to
time out and to stay silent. It decides nothing; what the real mhad decides is tested with the lab.
"""
import http.server
import json
import socketserver
import threading
import urllib.parse

STATUS = {
    "version": 1, "cluster": "lab", "quorum": True, "leader": "n1", "generation": 3,
    "nodes": [{"name": "n1", "role": "voter", "state": "online", "address": "10.77.0.11"},
              {"name": "n2", "role": "voter", "state": "online", "address": "10.77.0.12"},
              {"name": "arb", "role": "arbiter", "state": "offline", "address": "10.77.0.13"}],
    "vips": [{"address": "10.77.0.100", "owner": "group:main", "holder": "n1"}],
    "groups": [{"name": "main", "engine": "postgresql", "state": "steady", "reason": "", "epoch": 1, "primary": "n1", "durability": "sync",
                "instances": [{"node": "n1", "role": "primary", "state": "running", "position": "0/3000148", "lag_bytes": 0, "sync": True},
                              {"node": "n2", "role": "replica", "state": "running", "position": "0/3000148", "lag_bytes": 1536, "sync": True}]}],
}


def event(number, text, severity="info", group="main"):
    return {"id": number, "at": "2026-11-23T18:50:21.%03dZ" % number, "generation": 3, "group": group, "epoch": 1, "rule": 40,
            "severity": severity, "text": text}


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass


class Standin:
    """One node. `answers` maps (method, path) to (status, body) and overrides the canned state. tls: an ssl.SSLContext; path: of a unix socket."""

    def __init__(self, tls=None, path=None):
        self.status = json.loads(json.dumps(STATUS))
        self.events = [event(1, "node n2 is online"), event(2, "primary n1 is silent -> fence it", "warning")]
        self.answers = {}
        self.is_silent = False
        self.requests = []
        self.changed = threading.Condition()
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                node.handle(self, None)

            def do_POST(self):
                node.handle(self, self.rfile.read(int(self.headers["Content-Length"])))

        if path is not None:
            self.server = UnixServer(path, Handler)
            self.url = "unix:" + path
        else:
            self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.server.server_port)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.server.handle_error = lambda *args: None
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def add_event(self, new):
        with self.changed:
            self.events.append(new)
            self.changed.notify_all()

    def fall_silent(self):
        """Every request, those that wait too, ends without an answer from now on."""
        with self.changed:
            self.is_silent = True
            self.changed.notify_all()

    def handle(self, request, body):
        self.requests.append((request.command, request.path, json.loads(body) if body else None))
        url = urllib.parse.urlsplit(request.path)
        answer = self.answers.get((request.command, url.path))
        if answer is None:
            answer = self.canned(request.command, url.path, urllib.parse.parse_qs(url.query))
        if answer == "silence" or self.is_silent:
            request.close_connection = True  # the request was read; the connection ends without an answer
        else:
            self.reply(request, *answer)

    @staticmethod
    def reply(request, status, reply, headers=None):
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        try:
            request.end_headers()
            request.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            request.close_connection = True  # the shell has ended meanwhile

    def canned(self, method, path, query):
        if (method, path) == ("GET", "/v1/status"):
            return 200, self.status
        if (method, path) == ("GET", "/v1/nodes"):
            return 200, {"version": 1, "nodes": [dict(n, id="42", leader=n["name"] == "n1", heartbeat_age_ms=120) for n in self.status["nodes"]]}
        if (method, path) == ("GET", "/v1/groups"):
            return 200, {"version": 1, "groups": [dict(g, paused=False, on_failure="failover", operation=None) for g in self.status["groups"]]}
        if (method, path) == ("GET", "/v1/vips"):
            return 200, {"version": 1, "vips": self.status["vips"]}
        if (method, path) == ("GET", "/v1/events"):
            return 200, {"version": 1, "events": self.wait_for_events(query)}
        if (method, path) == ("POST", "/v1/cluster/init"):
            return 200, {"version": 1, "cluster": "lab", "uuid": "0f0e"}
        if method == "POST" and path in ("/v1/groups/main/switchover", "/v1/groups/main/failover"):
            return 200, {"version": 1, "operation": 7, "primary": "n2", "seconds": 0.21}
        if method == "POST" and path in ("/v1/groups/main/pause", "/v1/groups/main/resume"):
            return 200, {"version": 1}
        return 404, {"version": 1, "error": "not_found", "message": "there is no %s %s" % (method, path)}

    def wait_for_events(self, query):
        after = int(query.get("after", ["0"])[0])
        limit = int(query.get("limit", ["50"])[0])
        wait = float(query.get("wait", ["0"])[0])
        with self.changed:
            self.changed.wait_for(lambda: self.is_silent or any(e["id"] > after for e in self.events), timeout=wait)
            found = [e for e in self.events if e["id"] > after]
        return found[:limit] if "after" in query else found[-limit:]
