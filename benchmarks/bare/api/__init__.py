"""What the web server and Flask can do at best: a body is read, hashed and dropped (benchmarks/uploads.py).

Called `api` like ours, so that with this folder first on the path `umbel api` serves it in the very same way.
"""

import hashlib

from flask import Flask, request


def create_app() -> Flask:
    app = Flask("bare")

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.post("/v1/images")
    def take() -> tuple[dict[str, str], int]:
        return {"sha256": hashlib.sha256(request.get_data()).hexdigest()}, 202

    return app
