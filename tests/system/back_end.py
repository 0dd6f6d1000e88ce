"""A back end elsewhere, as somebody might write it who has read docs/hybrid.md; runs inside a machine, by Python's own
library alone. It prints a line of JSON for each thing that it has brought about or seen.

back_end.py URL TOKEN CA-FILE SESSION PHONE
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LIMIT_S = 30.0
PAUSE_S = 0.5
"""Before it comes back to an appliance that is being restarted."""
END_S = 180.0


def tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Appliance:
    def __init__(self, url: str, token: str, ca: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._tls = ssl.create_default_context(cafile=ca)

    def open(self, path: str, body: object = None, limit_s: float = LIMIT_S, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {**self._headers, **headers})  # noqa: S310 - https
        return urllib.request.urlopen(request, timeout=limit_s, context=self._tls)  # noqa: S310

    def call(self, path: str, body: object = None, **headers: str) -> Any:
        """Until it is there: a daemon that is being restarted is waited for."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                with self.open(path, body, **headers) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as error:
                if error.code < 500 or time.monotonic() > deadline:
                    raise
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(PAUSE_S)

    def events(self) -> Iterator[dict[str, Any]]:
        """From the first one that is kept on, without a gap, whatever is restarted."""
        last = "0"
        while True:
            try:
                with self.open("/v1/events", limit_s=END_S, **{"Last-Event-ID": last}) as stream:
                    for raw in stream:
                        name, _, value = raw.decode().rstrip("\n").partition(": ")
                        if name == "id":
                            last = value
                        elif name == "data":
                            yield json.loads(value)
            except (OSError, urllib.error.HTTPError):
                pass
            tell(stream="ended", last=int(last))
            time.sleep(PAUSE_S)


class Hooks(BaseHTTPRequestHandler):
    secret = ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        fields = dict(part.split("=", 1) for part in self.headers["X-AMDA-Signature"].split(","))
        expected = hmac.new(self.secret.encode(), fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        genuine = hmac.compare_digest(expected, fields["v1"])
        self.send_response(204 if genuine else 403)
        self.end_headers()
        message = json.loads(body)
        tell(webhook=message["type"], genuine=genuine, data=message["data"])

    def log_message(self, *_: object) -> None:
        """Standard error is for what goes wrong."""


def listen_to_hooks() -> None:
    """Says where it listens; is told the secret, which somebody has got who may make webhooks."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hooks)
    tell(hooks=f"http://127.0.0.1:{server.server_port}/hook")
    Hooks.secret = sys.stdin.readline().strip()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=end_with_the_test, daemon=True).start()


def end_with_the_test() -> None:
    sys.stdin.read()
    os._exit(0)


def link(appliance: Appliance, session: str, phone: str) -> None:
    key = {"Idempotency-Key": f"{session}-once"}
    first = appliance.call("/v1/sessions", {"id": session}, **key)
    again = appliance.call("/v1/sessions", {"id": session}, **key)
    tell(session=first["id"], repeated=first == again)
    view = appliance.call("/v1/pairings", {"session": session, "method": "code", "phone": phone})
    shown = None
    while view["state"] not in ("linked", "expired", "refused", "cancelled", "failed"):
        if view.get("code") and view["code"] != shown:
            shown = view["code"]
            tell(code=shown, seconds=view["remaining_s"])
        view = appliance.call(f"/v1/pairings/{view['id']}?since={view['updated_at']}&wait_s=20")
    tell(linked=view["state"] == "linked", reason=view.get("reason"))


def download(appliance: Appliance, media: str) -> None:
    view = appliance.call(f"/v1/media/{media}")
    with appliance.open(f"/v1/media/{media}/content") as answer:
        whole = answer.read()
    with appliance.open(f"/v1/media/{media}/content", Range="bytes=10-19") as answer:
        part, status = answer.read(), answer.status
    expected = view["stored_sha256"] or view["sha256"]
    tell(
        downloaded=len(whole),
        same=hashlib.sha256(whole).hexdigest() == expected,
        part=status == 206 and part == whole[10:20],
        received_sha256=view["sha256"],
    )


def main(url: str, token: str, ca: str, session: str, phone: str) -> None:
    appliance = Appliance(url, token, ca)
    listen_to_hooks()
    linking = threading.Thread(target=link, args=(appliance, session, phone), daemon=True)
    linking.start()
    seen = 0
    for event in appliance.events():
        assert event["seq"] > seen, "an event came twice"
        seen = event["seq"]
        if event["session"] == session and event["type"] == "session.state":
            tell(state=event["data"]["state"])
        if event["type"] == "media.stored":
            download(appliance, event["data"]["id"])


if __name__ == "__main__":
    main(*sys.argv[1:])
