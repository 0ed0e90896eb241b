"""A real Kill Bill for tests: its war from Maven Central, on a database of ours, with a test clock.

The newest server that Maven Central has whole is of 0.22; its tables differ from those of 0.24 by a
few columns, of which the quantity of a subscription is the one that matters.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import socketserver
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import platformdirs

from tests.support.broker import Unavailable
from tidemill.database import Database

__all__ = ["KillBillServer", "Unavailable", "killbill_server"]

_VERSION: Final = "0.22.26"
# Of Jetty 10, because this Kill Bill's servlets are older than their move to Jakarta.
_ARTIFACTS: Final = {
    "killbill.war": f"org.kill-bill.billing:killbill-profiles-killbill:{_VERSION}:war",
    "jetty-runner.jar": "org.eclipse.jetty:jetty-runner:10.0.26:jar",
}
# This version of the plugin can still write where it is told, without the artifact's parent, which
# Maven Central does not have.
_GET: Final = "org.apache.maven.plugins:maven-dependency-plugin:2.8:get"
_CACHE: Final = platformdirs.user_cache_path("tidemill-tests") / f"killbill-{_VERSION}"
_STARTING_S: Final = 180
_STOPPING_S: Final = 30
_ANSWER_S: Final = 60
_TENANT: Final = ("apiKey", "apiSecret", "externalKey")
# What Kill Bill and its container of plugins look into, and Java has closed since.
_OPENED: Final = (
    *(f"java.{each}" for each in ("lang", "lang.reflect", "util", "text", "net", "io", "time")),
    *(f"sun.net.www.protocol.{each}" for each in ("file", "ftp", "http", "https", "jar", "jrt")),
)

_PROPERTIES: Final = {
    "org.killbill.server.test.mode": "true",
    "org.killbill.server.multitenant": "true",
    "org.killbill.tenant.broadcast.rate": "1s",
    "org.killbill.notificationq.main.sleep": "50",
    "org.killbill.persistent.bus.external.inMemory": "true",
    "org.killbill.invoice.sanitySafetyBoundEnabled": "false",
    "org.killbill.invoice.maxDailyNumberOfItemsSafetyBound": "-1",
    "org.killbill.server.updateCheck.skip": "true",
    "org.killbill.server.shutdownDelay": "0s",
}


def _war() -> Path:
    return _CACHE / "killbill.war"


def _fetch() -> None:
    """Bring the war and its runner to this machine, once."""
    for program in ("java", "mvn"):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is not installed")
    _CACHE.mkdir(parents=True, exist_ok=True)
    for name, artifact in _ARTIFACTS.items():
        if (_CACHE / name).exists():
            continue
        # Into another folder first: half a file must not be taken for a whole one.
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            target = Path(scratch) / name
            options = [f"-Dartifact={artifact}", "-Dtransitive=false", f"-Ddest={target}"]
            done = subprocess.run(
                ["mvn", "-q", "-B", _GET, *options], check=False, capture_output=True, text=True
            )
            if done.returncode:
                raise Unavailable(f"Maven cannot get {artifact}: {done.stdout[-500:]}")
            target.rename(_CACHE / name)


def _ddl() -> Iterator[str]:
    """Kill Bill's own statements, those that make PostgreSQL understand the others first."""
    files = {}
    with zipfile.ZipFile(_war()) as war:
        for name in war.namelist():
            if not re.search(r"lib/killbill-[^/]*\.jar$", name):
                continue
            with zipfile.ZipFile(BytesIO(war.read(name))) as jar:
                for path in jar.namelist():
                    if path.endswith(("/ddl.sql", "/ddl-postgresql.sql")):
                        files[path] = jar.read(path).decode("utf-8")
    yield files.pop("org/killbill/billing/util/ddl-postgresql.sql")
    for path in sorted(files):
        # Each on its own: a trigger of Kill Bill's looks for what it changes in the statement.
        yield from filter(str.strip, re.split(r";[ \t]*$", files[path], flags=re.MULTILINE))


@contextmanager
def _relay(host: str, port: int) -> Iterator[int]:
    """A port of this machine behind which PostgreSQL is: Java knows no way to a Unix socket."""

    def connect() -> socket.socket:
        if not host.startswith("/"):
            return socket.create_connection((host, port))
        made = socket.socket(socket.AF_UNIX)
        made.connect(f"{host}/.s.PGSQL.{port}")
        return made

    def copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    class Pair(socketserver.BaseRequestHandler):
        """A connection of Kill Bill's and one of ours."""

        def handle(self) -> None:
            with closing(connect()) as ours:
                back = threading.Thread(target=copy, args=(ours, self.request))
                back.start()
                copy(self.request, ours)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Pair) as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield int(relay.server_address[1])
        finally:
            relay.shutdown()
            thread.join()


@dataclass
class KillBillServer:
    """A running server; a request names the tenant that was made last."""

    port: int
    api_key: str = ""

    def tenant(self, name: str) -> None:
        """Make a tenant, whom the following requests are for."""
        self.call("POST", "/1.0/kb/tenants", dict.fromkeys(_TENANT, name), follow=False)
        self.api_key = name

    def clock(self, instant: str) -> None:
        """Set its clock, and wait until all that is due by then is done."""
        wait = {"timeoutSec": _ANSWER_S}
        self.call("POST", "/1.0/kb/test/clock", follow=False, requestedDate=instant, **wait)
        self.settle()

    def settle(self) -> None:
        """Wait until it has nothing left to do."""
        self.call("GET", "/1.0/kb/test/queues", timeoutSec=_ANSWER_S)

    def call(
        self, method: str, path: str, body: Any = None, *, follow: bool = True, **query: Any
    ) -> Any:
        """Ask its REST API: what it answers, or what it made when it says where that is."""
        text = body if isinstance(body, str) else json.dumps(body)
        kind = "text/xml" if isinstance(body, str) else "application/json"
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(query)}"
        headers = {
            "Authorization": "Basic YWRtaW46cGFzc3dvcmQ=",  # admin:password, as it comes
            "Content-Type": kind,
            "X-Killbill-CreatedBy": "tests",
            "X-Killbill-ApiKey": self.api_key,
            "X-Killbill-ApiSecret": self.api_key,
        }
        data = None if body is None else text.encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:  # noqa: S310 - as above
                told = answer.read()
                made = answer.headers.get("Location")
        except urllib.error.HTTPError as error:
            error.add_note(f"{method} {url}: {error.read().decode()[:2000]}")
            raise
        if made and follow and not told:
            return self.call("GET", urllib.parse.urlsplit(made).path)
        return json.loads(told) if told[:1] in (b"{", b"[") else told.decode()


@contextmanager
def killbill_server(database: Database) -> Iterator[KillBillServer]:
    """A server whose tables it makes in this empty database, until the block ends.

    Raises: Unavailable when Java or Maven is missing, or the server cannot be had.
    """
    _fetch()
    with database.begin() as connection:
        for statement in _ddl():
            connection.exec_driver_sql(statement.replace("%", "%%"))
    url = database.engine.url
    host = str(url.query.get("host", url.host or "127.0.0.1"))
    port = int(str(url.query.get("port", url.port or 5432)))
    with tempfile.TemporaryDirectory(prefix="killbill-") as scratch, _relay(host, port) as way:
        jdbc = f"jdbc:postgresql://127.0.0.1:{way}/{url.database}"
        account = {"url": jdbc, "user": url.username or "postgres", "password": url.password or ""}
        properties = dict(_PROPERTIES)
        for prefix in ("org.killbill.dao", "org.killbill.billing.osgi.dao"):
            properties |= {f"{prefix}.{name}": value for name, value in account.items()}
        properties["org.killbill.osgi.bundle.install.dir"] = f"{scratch}/bundles"
        properties["org.killbill.osgi.root.dir"] = f"{scratch}/osgi"
        with _running(Path(scratch), properties) as server:
            yield server


@contextmanager
def _running(folder: Path, properties: dict[str, str]) -> Iterator[KillBillServer]:
    file = folder / "killbill.properties"
    file.write_text("".join(f"{name}={value}\n" for name, value in properties.items()), "utf-8")
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        port = int(probe.getsockname()[1])
    options = [f"--add-opens=java.base/{each}=ALL-UNNAMED" for each in _OPENED]
    command = [
        *("java", "-Xmx768m", "-XX:+UseSerialGC", *options),
        *(f"-Dorg.killbill.server.properties=file://{file}", f"-DLOGS_DIR={folder}/logs"),
        *("-jar", str(_CACHE / "jetty-runner.jar")),
        *("--host", "127.0.0.1", "--port", str(port), str(_war())),
    ]
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=folder)
    try:
        server = KillBillServer(port)
        _wait(server, process, log)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(_STOPPING_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: KillBillServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_S
    while True:
        assert process.poll() is None, log.read_text("utf-8", "replace")[-5000:]
        assert time.monotonic() < deadline, log.read_text("utf-8", "replace")[-5000:]
        try:
            server.call("GET", "/1.0/kb/nodesInfo")
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.2)
        else:
            return
