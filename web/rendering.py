"""Templates to text. Strict: a name that a template uses and its context lacks is an error, not an empty place."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from typing import Any, ClassVar, Protocol

import jinja2
import markupsafe

HERE = pathlib.Path(__file__).parent
STATIC_DIR = HERE / "static"
TEMPLATE_DIR = HERE / "templates"


class Context(Protocol):
    """A frozen dataclass of ``web.contexts``."""

    TEMPLATE: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def asset(name: str) -> str:
    """Address of a static file, with its digest, so that a browser may keep it for ever."""
    return f"/static/{name}?v={_digest(name)}"


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256((STATIC_DIR / name).read_bytes()).hexdigest()[:12]


def missing_assets() -> tuple[str, ...]:
    """Static files that are built and not there yet; ``npm ci --ignore-scripts && npm run build`` makes them."""
    wanted = ("htmx.js", "uplot.js", "uplot.css", "editor.js")
    return tuple(f"vendor/{name}" for name in wanted if not (STATIC_DIR / "vendor" / name).is_file())


def environment(kind: type[jinja2.Environment] = jinja2.Environment) -> jinja2.Environment:
    made = kind(
        loader=jinja2.FileSystemLoader(TEMPLATE_DIR),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals["asset"] = asset
    made.globals["part"] = functools.partial(_part, made)
    return made


def _part(environment_: jinja2.Environment, context: Context) -> markupsafe.Markup:
    return markupsafe.Markup(render_with(environment_, context))  # noqa: S704 (escaped when it was rendered)


_ENVIRONMENT = environment()


def render(context: Context) -> str:
    """The page or partial as HTML. Every value is escaped on its way in."""
    return render_with(_ENVIRONMENT, context)


def render_with(environment_: jinja2.Environment, context: Context) -> str:
    names = {field.name: getattr(context, field.name) for field in dataclasses.fields(context)}
    return environment_.get_template(context.TEMPLATE).render(names)
