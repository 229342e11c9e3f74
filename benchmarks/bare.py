"""What the web server and Flask can do at best: a body is read, hashed and dropped. Served exactly as our API is."""

import hashlib

from flask import Flask, request


def create_app() -> Flask:
    app = Flask("bare")
    app.config.update(PROXIES=0, REQUIRE_KEYS=False)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/v1/images")
    def take() -> tuple[dict[str, str], int]:
        return {"sha256": hashlib.sha256(request.get_data()).hexdigest()}, 202

    return app


if __name__ == "__main__":
    import api.app
    from api.processes import serve
    from umbel.base.settings import settings

    api.app.create_app = create_app  # type: ignore[assignment]
    serve(settings())
