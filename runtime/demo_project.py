"""Puts the demo's plant on the supervisor: a project, so that its pages show and change what runs, and its screens."""

from __future__ import annotations

import asyncio
import pathlib
from typing import Any

import httpx
import msgspec

from runtime.http import ask, client

API = "/api/v1"
SUFFIXES = frozenset({".toml", ".st", ".xml", ".py", ".csv", ".md"})
MESSAGE = "The water plant as it comes with Tickwork"
TRIES = 50
PAUSE_S = 0.2


async def put_project(url: str, key: str, folder: pathlib.Path, node: str) -> bool:
    """Makes project and first version, and deploys it to ``node``; False if the project is there already."""
    async with client() as http:
        http.headers["authorization"] = f"Bearer {key}"
        known = _decoded(await ask(http, http.build_request("GET", f"{url}{API}/projects")))
        if any(project["name"] == node for project in known["items"]):
            return False
        body = {"name": node, "files": await asyncio.to_thread(_files, folder)}
        made = await _post(http, f"{url}{API}/projects", body)
        number = int(made["project"]["id"])
        await _post(http, f"{url}{API}/projects/{number}/versions", {"message": MESSAGE})
        query = {"targets": node, "project_id": str(number), "reason": MESSAGE}
        deployed = _decoded(
            await ask(http, http.build_request("POST", f"{url}{API}/deployments", params=query))
        )
        for _ in range(TRIES):
            if deployed["state"] != "running":
                break
            await asyncio.sleep(PAUSE_S)
            again = http.build_request("GET", f"{url}{API}/deployments/{deployed['id']}")
            deployed = _decoded(await ask(http, again))
        return True


async def put_screens(url: str, key: str, folder: pathlib.Path, node: str) -> int:
    """Makes a screen of each drawing in ``folder/screens`` that is not there yet; returns how many."""
    async with client() as http:
        http.headers["authorization"] = f"Bearer {key}"
        known = _decoded(await ask(http, http.build_request("GET", f"{url}{API}/screens")))
        names = {screen["name"] for screen in known["items"]}
        made = 0
        for path in await asyncio.to_thread(lambda: sorted(folder.glob("screens/*.svg"))):
            name = path.stem.replace("-", " ").capitalize()
            if name not in names:
                query = {"name": name, "runtime": node}
                svg = await asyncio.to_thread(path.read_bytes)
                await ask(http, http.build_request("POST", f"{url}{API}/screens", params=query, content=svg))
                made += 1
        return made


def _files(folder: pathlib.Path) -> list[dict[str, str]]:
    return [
        {"path": path.relative_to(folder).as_posix(), "text": path.read_text("utf-8")}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in SUFFIXES
    ]


async def _post(http: httpx.AsyncClient, url: str, body: dict[str, Any]) -> dict[str, Any]:
    content = msgspec.json.encode(body)
    request = http.build_request("POST", url, content=content, headers={"content-type": "application/json"})
    return _decoded(await ask(http, request))


def _decoded(data: bytes) -> dict[str, Any]:
    return msgspec.json.decode(data, type=dict[str, Any])
