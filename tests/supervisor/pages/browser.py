"""A browser without scripts over the pages of the made-up plant."""

from __future__ import annotations

import httpx

from tests.supervisor.pages.fake_app import fake_app
from tests.supervisor.pages.fakes import PASSWORD, Plant, fake_services


class Browser:
    def __init__(self, plant: Plant | None = None) -> None:
        self.plant = plant or Plant()
        self.app = fake_app(fake_services(self.plant))
        transport = httpx.ASGITransport(app=self.app)
        self.http = httpx.AsyncClient(
            transport=transport, base_url="http://pages.test", follow_redirects=True
        )
        self.csrf = ""

    async def log_in(self, name: str) -> httpx.Response:
        response = await self.http.post(
            "/login", data={"name": name, "password": PASSWORD, "csrf": self.csrf}
        )
        page = (await self.http.get("/account")).text
        self.csrf = page.split('<meta name="csrf" content="')[1].split('"')[0]
        return response

    async def get(self, address: str, **headers: str) -> httpx.Response:
        return await self.http.get(
            address, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    async def partial(self, address: str) -> httpx.Response:
        return await self.get(address, HX_Request="true", HX_Request_Type="partial")

    async def post(self, address: str, **form: str) -> httpx.Response:
        return await self.http.post(address, data={"csrf": self.csrf, **form})
