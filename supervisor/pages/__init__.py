"""The pages: Starlette routes that fill the contexts of ``web`` from the services."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount

from supervisor.guard import access
from supervisor.pages.admin_pages import AdminPages
from supervisor.pages.alarm_pages import AlarmModel, AlarmPages
from supervisor.pages.deployment_pages import DeploymentModel, DeploymentPages
from supervisor.pages.errors import error_page
from supervisor.pages.live_views import LivePages
from supervisor.pages.notify_pages import NotifyPages
from supervisor.pages.plant_pages import PlantModel, PlantPages
from supervisor.pages.program_pages import ProgramPages
from supervisor.pages.program_tools import ProgramTools
from supervisor.pages.screen_pages import ScreenModel, ScreenPages
from supervisor.pages.session_pages import SessionPages
from supervisor.pages.source_pages import SourceModel, SourcePages
from supervisor.pages.static_files import HashedFiles
from supervisor.pages.trend_pages import TrendPages
from supervisor.pages.watch_pages import WatchPages
from supervisor.services import Services

# Everything comes from this address and nothing is inline, so a text that slipped through could still not run.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "media-src blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "manifest-src 'self'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


def routes(services: Services) -> list[BaseRoute]:
    """All pages, their stream and their static files."""
    model, work, sources = PlantModel(services), DeploymentModel(services), SourceModel(services)
    alarms = AlarmModel(services)
    screens = ScreenModel(services)
    return [
        *SessionPages(services).routes(),
        *PlantPages(services, model).routes(),
        *AlarmPages(services, alarms).routes(),
        *NotifyPages(services).routes(),
        *SourcePages(services, sources).routes(),
        *TrendPages(services).routes(),
        *WatchPages(services).routes(),
        *ScreenPages(services, screens).routes(),
        *ProgramPages(services).routes(),
        *ProgramTools(services).routes(),
        *DeploymentPages(services, work).routes(),
        *AdminPages(services).routes(),
        *LivePages(services, model, work, sources, screens, alarms).routes(),
        Mount("/static", access(None)(HashedFiles()), name="static"),
    ]


__all__ = ["CONTENT_SECURITY_POLICY", "SECURITY_HEADERS", "error_page", "routes"]
