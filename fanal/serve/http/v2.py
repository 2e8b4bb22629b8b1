"""The routes of the Open Inference Protocol v2."""

from __future__ import annotations

from fanal.serve import reports
from fanal.serve.access import Right
from fanal.serve.engine import Engine
from fanal.serve.errors import ServeError, Status
from fanal.serve.http.infer import Infer
from fanal.serve.http.messages import Request, Response, as_json
from fanal.serve.http.routing import Operation, Route
from fanal.serve.settings import Settings
from fanal.serve.version import Version

_MODEL = "/v2/models/{model}"
_VERSION = _MODEL + "/versions/{version}"
_TAG = "Open Inference Protocol v2"
_READY = Operation(_TAG, "Whether a model answers", "ModelReady", answers={400: "ModelReady"})
_INFER = Operation(
    _TAG, "Run a model", "InferResponse", "InferRequest",
    description="With the header Inference-Header-Content-Length: n the first n bytes of the body are JSON, and the tensors that "
    "have parameters.binary_data_size follow, the low byte first. Bodies may be compressed (Content-Encoding: gzip, deflate).",
)  # fmt: skip


def health_routes(engine: Engine) -> list[Route]:
    """Whether the server is there: for every listener."""

    def live(request: Request) -> Response:
        return as_json({"live": True})

    def ready(request: Request) -> Response:
        return as_json({"ready": engine.ready}, 200 if engine.ready else 503)

    return [
        Route("GET", "/v2/health/live", Right.HEALTH, live, operation=Operation("Health", "Whether the server runs", "Live")),
        Route("GET", "/v2/health/ready", Right.HEALTH, ready, operation=Operation("Health", "Whether all models answer", "Ready", answers={503: "Ready"})),
    ]


def v2_routes(engine: Engine, settings: Settings) -> list[Route]:
    """All but the repository's, which are on the admin listener."""

    def named(request: Request) -> Version:
        number = request.names.get("version")
        return engine.find(request.names["model"], None if number is None else int(number))

    def server(request: Request) -> Response:
        return as_json(reports.server_metadata())

    def metadata(request: Request) -> Response:
        version = named(request)
        return as_json(reports.model_metadata(version, engine.entry(version.model)))

    def ready(request: Request) -> Response:
        try:
            version = named(request)
        except ServeError as error:
            if error.status is not Status.UNAVAILABLE:
                raise
            return as_json({"error": error.text}, 400)
        answers = version.ready and not engine.draining
        report = {"name": version.model, "version": str(version.number), "ready": answers}
        return as_json(report, 200 if answers else 400)

    def config(request: Request) -> Response:
        return as_json(reports.model_config(named(request)))

    def statistics(request: Request) -> Response:
        name = request.names.get("model")
        if name is None:
            return as_json(reports.statistics(engine.versions()))
        if "version" in request.names:
            return as_json(reports.statistics([named(request)]))
        versions = engine.entry(name).versions
        return as_json(reports.statistics(versions[n] for n in sorted(versions)))

    infer = Infer(engine, settings)
    routes = [
        Route("GET", "/v2", Right.USE, server, operation=Operation(_TAG, "What the server is and can", "ServerMetadata")),
        Route("GET", "/v2/models/stats", Right.USE, statistics, operation=Operation(_TAG, "Statistics of all models", "Statistics")),
    ]
    for path in (_MODEL, _VERSION):
        routes += [
            Route("GET", path, Right.USE, metadata, operation=Operation(_TAG, "What a model takes and gives", "ModelMetadata")),
            Route("GET", path + "/ready", Right.USE, ready, operation=_READY),
            Route("GET", path + "/config", Right.USE, config, operation=Operation(_TAG, "How a model is served", "ModelConfig")),
            Route("GET", path + "/stats", Right.USE, statistics, operation=Operation(_TAG, "What happened to a model's requests", "Statistics")),
            Route("POST", path + "/infer", Right.USE, infer, work=True, operation=_INFER, packed=True),
        ]
    return health_routes(engine) + routes
