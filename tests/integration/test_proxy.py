"""The API behind reverse proxies: on other ports, under other names, below a path."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
from umbel_client import Umbel

from api.page import STATIC, TEMPLATES
from api.upload_limits import largest_request
from stack.postgres import Postgres
from stack.redis import Redis
from tests.images import image_bytes
from tests.integration.test_server import Api
from tests.processes import UMBEL, eventually, free_port
from tests.reverse_proxy import reverse_proxy
from umbel.access.keys import KeyScope, create_key
from umbel.base.database import transaction
from umbel.base.settings import Settings

pytestmark = pytest.mark.usefixtures("database")

PREFIX = "/some/umbel"
TELLS = {"Host": "{host}", "X-Forwarded-Host": "{host}", "X-Forwarded-Proto": "http", "X-Forwarded-For": "10.0.0.9"}


@pytest.fixture(scope="module")
def api(postgres: Postgres, redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """It trusts one proxy."""
    more = {"UMBEL_PROXIES": "1", "UMBEL_ALLOWED_HOSTS": "pictures.example.org,10.2.0.0/16,fd00::/8"}
    process = Api(tmp_path_factory.mktemp("api") / "log", patience=20, **more)
    yield process
    process.stop()


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    """Where the API is reached below a path."""
    with reverse_proxy(api.port, prefix=PREFIX, tells={**TELLS, "X-Forwarded-Prefix": PREFIX}) as where:
        yield where


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, trust_env=False) as client:
        yield client


@pytest.mark.parametrize("path", ["/v1/imports", "/v1/models", "/v1/models/1/vectors"])
def test_caddy_as_documented_passes_on_requests_that_may_be_large(path: str) -> None:
    assert largest_request(Settings(), path) > 2 * largest_request(Settings())
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "proxy.md").read_text()
    large, others = re.findall(r"^ *@(?:large|others)(?: not)? path (.*)$", page, re.MULTILINE)

    assert large == others
    assert any(fnmatch(path, pattern) for pattern in large.split())


def upload(client: httpx.Client, seed: int = 1, **headers: str) -> httpx.Response:
    return client.post("/v1/images", files={"file": ("a.jpg", image_bytes(seed))}, headers=headers)


def links(answer: Any) -> Iterator[str]:
    """All links in an answer."""
    if isinstance(answer, dict):
        yield from answer.get("links", {}).values()
        answer = list(answer.values())
    if isinstance(answer, list):
        for one in answer:
            yield from links(one)


def test_every_link_leads_below_the_path(client: httpx.Client, url: str) -> None:
    root = url.removesuffix(PREFIX)
    accepted = upload(client)
    assert accepted.headers["Location"] == f"{PREFIX}/v1/jobs/{accepted.json()['job_id']}"
    made = client.post("/v1/collections", json={"name": "garden"})
    assert made.headers["Location"] == f"{PREFIX}/v1/collections/garden"
    paths = ["/v1/images", f"/v1/images/{accepted.json()['image_id']}", "/v1/jobs", "/v1/collections", "/v1/models"]
    found = {link for path in paths for link in links(client.get(path).json())}
    assert len(found) >= 10
    for link in [*found, accepted.headers["Location"], made.headers["Location"]]:
        assert link.startswith(f"{PREFIX}/v1/")
        assert httpx.get(root + link, trust_env=False).status_code in (200, 405, 503)
    problem = client.get("/v1/nothing").json()
    assert problem["instance"] == f"{PREFIX}/v1/nothing"
    page, _, code = problem["type"].partition("#")
    assert page == f"{PREFIX}/errors"
    assert f'<div id="{code}">' in httpx.get(root + page, trust_env=False).text


def test_the_specification_names_the_path_of_each_caller(client: httpx.Client, api: Api) -> None:
    for _ in range(2):
        assert client.get("/openapi.json").json()["servers"] == [{"url": PREFIX}]
        direct = httpx.get(f"http://127.0.0.1:{api.port}/openapi.json", trust_env=False)
        assert direct.json()["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("path", ["/", "/docs", "/errors", "/signin"])
def test_the_pages_load_all_that_they_need(client: httpx.Client, path: str) -> None:
    page = client.get(path)
    named = re.findall(r'(?:src|href|spec-url|action)="([^"#]+)', page.text)
    assert len(named) >= 3
    for one in named:
        assert not one.startswith("/")
        assert client.get(str(page.url.join(one))).status_code == 200


def test_no_script_or_style_of_the_page_leads_to_the_root_of_the_site() -> None:
    files = [*STATIC.glob("*.*"), *TEMPLATES.glob("*.*")]
    assert len(files) > 40
    for file in files:
        assert re.findall(r"""(?:["'`(]|url\()/[a-z]\S*""", file.read_text()) == [], file.name


def test_a_browser_stays_signed_in_below_the_path_alone(client: httpx.Client, url: str) -> None:
    with transaction() as session:
        key, _ = create_key(session, name="one", scope=KeyScope.WRITE, actor="test")
    origin = {"Origin": url.removesuffix(PREFIX)}
    entered = client.post("/signin", data={"key": key}, headers=origin)
    assert (entered.status_code, str(entered.next_request.url)) == (303, f"{url}/")  # type: ignore[union-attr]
    assert f"Path={PREFIX}" in entered.headers["Set-Cookie"]
    token = client.get("/v1/session").json()["csrf_token"]
    left = client.post("/signout", data={"csrf_token": token}, headers=origin)
    assert (left.status_code, str(left.next_request.url)) == (303, f"{url}/signin")  # type: ignore[union-attr]
    assert client.get("/v1/session").json()["signed_in"] is False
    assert len(client.cookies) == 0


def test_client_and_command_line_work_below_the_path(url: str) -> None:
    with Umbel(f"{url}/") as umbel:
        job = umbel.images.upload(image_bytes(3)).job_id
        assert job is not None
        assert umbel.jobs.get(job).counts.total == 1
    listed = subprocess.run(
        [*UMBEL, "--url", url, "collections", "list", "--json"], capture_output=True, text=True, check=False,
        env={**os.environ, "UMBEL_URL": url},
    )  # fmt: skip
    assert (listed.returncode, '"default"' in listed.stdout) == (0, True), listed.stderr


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example",
        "/a//b",
        "/../b",
        "/a/..",
        "http://evil",
        "/a b",
        "/a\\b",
        "a",
        "/é",
        "/%2e",
        "/" + "a" * 300,
        "/",
    ],
)
def test_a_path_that_is_none_is_ignored(api: Api, prefix: str) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", trust_env=False) as client:
        answer = client.post(
            "/v1/images", files={"file": ("a.jpg", image_bytes(4))}, headers={"X-Forwarded-Prefix": prefix.encode()}
        )
    assert answer.headers["Location"].startswith("/v1/jobs/")


def test_a_trailing_slash_of_the_path_is_no_part_of_it(api: Api) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", trust_env=False) as client:
        answer = upload(client, **{"X-Forwarded-Prefix": f"{PREFIX}/"})
    assert answer.headers["Location"].startswith(f"{PREFIX}/v1/jobs/")


def test_nothing_is_believed_without_a_proxy(postgres: Postgres, redis: Redis, tmp_path: Any) -> None:
    api = Api(tmp_path / "log", patience=20)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", trust_env=False) as client:
            assert upload(client, **{"X-Forwarded-Prefix": PREFIX}).headers["Location"].startswith("/v1/jobs/")
            for told in ({"X-Forwarded-Port": "9000"}, {"X-Forwarded-Host": "localhost:9000"}):
                assert upload(client, Host="localhost", Origin="http://localhost:9000", **told).status_code == 403
    finally:
        api.stop()


ORIGINS: list[tuple[dict[str, str], str, bool]] = [
    ({"Host": "localhost:9000"}, "http://localhost:9000", True),  # nginx's $http_host
    ({"Host": "localhost"}, "http://localhost:9000", False),  # its $host, which has lost the port
    ({"Host": "localhost", "X-Forwarded-Port": "9000"}, "http://localhost:9000", True),
    ({"Host": "localhost:9000", "X-Forwarded-Port": "80"}, "http://localhost:9000", True),  # a container's mapped port
    ({"Host": "api:8080", "X-Forwarded-Host": "localhost:9000"}, "http://localhost:9000", True),
    ({"Host": "localhost", "X-Forwarded-Port": "443", "X-Forwarded-Proto": "https"}, "https://localhost", True),
    ({"Host": "localhost", "X-Forwarded-Port": "443"}, "https://localhost", True),
    ({"Host": "localhost:443"}, "https://localhost", True),
    ({"Host": "LOCALHOST:80"}, "http://localhost", True),
    ({"Host": "[::1]:9000"}, "http://[::1]:9000", True),
    ({"Host": "[::1]", "X-Forwarded-Port": "9000"}, "http://[::1]:9000", True),
    ({"Host": "localhost", "Sec-Fetch-Site": "same-origin"}, "http://localhost:9000", True),  # as the browser says
    ({"Host": "localhost", "Sec-Fetch-Site": "same-site"}, "http://localhost:9000", False),
    ({"Host": "localhost", "Sec-Fetch-Site": "cross-site"}, "http://evil.example", False),
    ({"Host": "localhost", "Sec-Fetch-Site": "nonsense"}, "http://evil.example", False),
    ({"Host": "localhost"}, "http://evil.example", False),
    ({"Host": "localhost:8080"}, "http://localhost:9000", False),
    ({"Host": "localhost", "X-Forwarded-Port": "9000"}, "http://localhost:9001", False),
    ({"Host": "localhost", "X-Forwarded-Port": "9000, 9001"}, "http://localhost:9000", False),  # sent by the caller
    ({"Host": "localhost", "X-Forwarded-Port": "9000@evil.example"}, "http://evil.example", False),
    ({"Host": "localhost"}, "null", False),
    ({"Host": "localhost"}, "http://localhost@evil.example", False),
    ({"Host": "localhost"}, "http://localhost:x", False),
    ({"Host": "localhost"}, "http://[", False),
]


@pytest.mark.parametrize(("told", "origin", "ours"), ORIGINS)
def test_a_page_of_the_same_address_may_change_things(api: Api, told: dict[str, str], origin: str, ours: bool) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{api.port}", trust_env=False) as client:
        answer = upload(client, Origin=origin, **told)
    assert answer.status_code in ((200, 202) if ours else (403,))
    if not ours:
        assert (answer.json()["code"], repr(origin) in answer.json()["detail"]) == ("cross_site", True)


NGINX = re.findall(r"```nginx\n(.*?)```", Path("docs/how-to/proxy.md").read_text(), re.DOTALL)
VARIABLES = {"$http_host": "{host}", "$host": "{name}", "$remote_addr": "10.0.0.9", "$scheme": "http", '""': ""}


@contextmanager
def as_printed(configuration: str, upstream: int) -> Iterator[str]:
    """A proxy that tells what nginx would by this configuration."""
    set_headers = re.findall(r"proxy_set_header (\S+) (\S+);", configuration)
    told = {name: VARIABLES.get(value, value) for name, value in set_headers}
    with reverse_proxy(upstream, prefix=told["X-Forwarded-Prefix"], tells=told) as url:
        yield url


@contextmanager
def nginx(configuration: str, upstream: int, folder: Path) -> Iterator[str]:
    """nginx itself with this configuration, on a free port."""
    port = free_port()
    servers = configuration.replace("127.0.0.1:8080", f"127.0.0.1:{upstream}").replace("listen 80", f"listen {port}")
    places = "".join(
        f"{kind}_temp_path {folder / kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; pid {folder}/pid; error_log stderr; events {{}}"
    (folder / "nginx.conf").write_text(f"{main} http {{ access_log off; {places} {servers} }}")
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")])
    prefix = next(iter(re.findall(r"X-Forwarded-Prefix (/\S+);", configuration)), "")
    try:
        url = f"http://localhost:{port}{prefix}"
        eventually(lambda: process.poll() is not None or answers(f"{url}/healthz"))
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.parametrize("configuration", NGINX, ids=["root", "path"])
@pytest.mark.parametrize(
    "real", [False, pytest.param(True, marks=pytest.mark.skipif(not shutil.which("nginx"), reason="no nginx"))]
)
def test_behind_nginx_as_the_documentation_prints_it(api: Api, configuration: str, real: bool, tmp_path: Path) -> None:
    proxy = nginx(configuration, api.port, tmp_path) if real else as_printed(configuration, api.port)
    with proxy as url, httpx.Client(base_url=url, trust_env=False) as client:
        root = f"http://{httpx.URL(url).netloc.decode()}"
        spoofed = {"X-Forwarded-Prefix": "/evil", "X-Forwarded-Port": "1"}
        accepted = upload(client, 5, Origin=root, **spoofed)
        assert accepted.status_code in (200, 202)
        image = client.get(f"/v1/images/{accepted.json()['image_id']}").json()
        assert httpx.get(root + image["links"]["self"], trust_env=False).json() == image
        assert client.get("/").status_code == 200
        assert upload(client, 5, Origin="http://localhost:1").status_code == 403
        if real:
            assert client.get("/metrics").status_code == 403
            for path, status in (("/v1/imports", 415), ("/v1/models", 422)):  # 413 would be nginx's
                large = client.post(path, files={"file": ("a.zip", os.urandom(2**20) * 40)})
                assert (large.status_code, large.headers["Content-Type"]) == (status, "application/problem+json")


HOSTS = {
    "localhost": 200,
    "localhost.": 200,
    "LOCALHOST:8080": 200,
    "127.0.0.1:1": 200,
    "[::1]:8080": 200,
    "pictures.example.org": 200,
    "Pictures.Example.org.:443": 200,
    "10.2.3.4:8080": 200,  # a pod, as Prometheus asks it
    "[fd00::7]:8080": 200,
    "10.3.3.4:8080": 400,
    "192.168.1.20": 400,
    "evil.example": 400,
    "10.2.3.4.evil.example": 400,
    "localhost.evil.example": 400,
    "[::1": 400,
    "": 400,
}


@pytest.mark.parametrize("host", HOSTS)
def test_the_api_answers_to_its_own_names(api: Api, host: str) -> None:
    answer = httpx.get(f"http://127.0.0.1:{api.port}/metrics", headers={"Host": host}, trust_env=False)
    assert answer.status_code == HOSTS[host]
    if HOSTS[host] == 400:
        detail = answer.json()["detail"]
        assert (repr(host) in detail, "UMBEL_ALLOWED_HOSTS" in detail) == (True, True)
