"""Pages and partials, with the typed context that each template takes."""

from web import contexts, contexts_watch, contexts_work
from web.rendering import STATIC_DIR, asset, missing_assets, render

__all__ = ["STATIC_DIR", "asset", "contexts", "contexts_watch", "contexts_work", "missing_assets", "render"]
