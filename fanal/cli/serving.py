"""`fanal serve PATH`: answer the protocols that standard clients speak. Its options are the server's settings."""

from __future__ import annotations

import argparse
from typing import Any, get_args

_GROUPS = {
    "host": "where it listens", "api_key_file": "who may ask", "name": "models", "max_batch": "batches and queues",
    "max_body": "limits of what is sent", "drain_timeout": "the end, and what it says",
}  # fmt: skip
_SECRET = ("api_keys", "admin_keys")  # arguments are seen by everybody on the machine
_EXAMPLES = """\
examples:
  fanal serve digits.fanal                           the model `digits`, on loopback
  fanal serve models/ --workers 2 --admin-port 8003  all models of a folder, two processes each
  fanal serve models/ --host 0.0.0.0 --api-key-file keys.txt

Every option can be set in the environment: --max-batch as FANAL_SERVE_MAX_BATCH. A port is switched off by `none`.
SIGTERM: answer what has come, then end. SIGHUP: look at the folder now. docs/serve.md says more.
"""


def add_parser(commands: Any) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "serve", help="serve models over HTTP and gRPC", epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serve models: Open Inference Protocol v2 over REST and gRPC, TensorFlow Serving's REST, "
        "Prometheus metrics (needs fanal[serve]).",
    )  # fmt: skip
    parser.add_argument("path", metavar="PATH", help="a .fanal file, or a folder of models")
    parser.add_argument(
        "--ready-file", metavar="FILE", help="written when all models answer: JSON with the process's number and ports"
    )
    parser.later = _add_settings
    parser.set_defaults(run=run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    try:
        from fanal.serve.settings import Settings
    except ImportError:  # said when the command is run; its help lacks the settings
        return
    group: Any = parser
    for name, field in Settings.model_fields.items():
        if name in _GROUPS:
            group = parser.add_argument_group(_GROUPS[name])
        if name in _SECRET:
            continue
        option = "--" + name.replace("_", "-")
        text = (field.description or "").replace("%", "%%")
        if field.annotation is bool:
            group.add_argument(option, action="store_true", default=None, help=text)
            continue
        default = field.default
        if default not in (None, ()):
            text += f" ({default:g})" if isinstance(default, float) else f" ({default})"
        group.add_argument(option, metavar=_placeholder(field.annotation), default=None, help=text)


def _placeholder(annotation: Any) -> str:
    kinds = {annotation, *get_args(annotation)}
    for kind, text in ((int, "N"), (float, "X"), (str, "TEXT")):
        if kind in kinds or any(kind in get_args(k) for k in kinds):
            return text
    literals = [k for k in kinds if isinstance(k, str)]
    return "|".join(sorted(literals)) if literals else "FILE" if "Path" in str(annotation) else "N"


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes."""
    try:
        from pydantic import ValidationError

        from fanal.serve.server import serve
        from fanal.serve.settings import Settings
    except ImportError as why:
        raise ImportError(f'serving needs packages that are not here ({why.name}): pip install "fanal[serve]"') from None
    given = {name: value for name in Settings.model_fields if (value := getattr(arguments, name, None)) is not None}
    try:
        settings = Settings(**given)
    except ValidationError as why:
        first = why.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["loc"]:
            name = str(first["loc"][0])
            option = "--" + name.replace("_", "-") if name in given else f"FANAL_SERVE_{name.upper()} in the environment"
            said = f"{option}: {said} (got {first['input']!r})"
        raise ValueError(said) from None
    return serve(arguments.path, settings, arguments.ready_file)
