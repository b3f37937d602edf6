"""Each template against the simulated device of the same template: two independent codings of every type."""

import pathlib
from typing import Any

import numpy as np
import pytest

from drivers.sim.device_server import TcpDevice
from drivers.sim.template_device import device_of, load_template, template_names, template_values
from scan.quality import GOOD


@pytest.mark.parametrize("name", template_names())
async def test_template_when_its_device_is_polled_then_each_point_has_its_own_number(
    world: Any, name: str
) -> None:
    template = load_template(name)
    expected = template_values(template)
    points = [
        {"name": point, "to": f"%IX{index}.0"} if template["point"][0]["function"] == "coils"
        else {"name": point, "to": f"%IL{index}", "as": "LREAL"}
        for index, point in enumerate(expected)
    ]  # fmt: skip
    server = TcpDevice({template.get("unit", 1): device_of(template)})
    table = world.table(await server.start(), template=name, point=points)
    try:
        async with world.polling(table) as (_, image):
            await world.until(lambda: set(image.quality) == {GOOD}, "all good")
            if "as" in points[0]:
                values = [float(v) for v in image.image[: 8 * len(points)].view("<f8")]
                assert np.allclose(values, list(expected.values()))
            else:
                assert [float(byte & 1) for byte in image.image[: len(points)]] == list(expected.values())
    finally:
        await server.stop()


OWN = """
order = "CDAB"
[[point]]
name = "speed"
function = "holding-registers"
address = 3
type = "int16"
scale = 0.1
[[point]]
name = "count"
function = "input-registers"
address = 8
type = "bcd32"
[[point]]
name = "label"
function = "holding-registers"
address = 10
type = "string"
registers = 3
[[point]]
name = "ready"
function = "holding-registers"
address = 20
type = "bit"
bit = 5
[[point]]
name = "idle"
function = "discrete-inputs"
address = 2
"""


async def test_template_when_it_is_an_own_one_with_other_types_then_simulated_and_read_alike(
    world: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-drive.toml").write_text(OWN)
    monkeypatch.setenv("TICKWORK_TEMPLATES", str(tmp_path))
    assert {"my-drive", "xy-md02"} <= set(template_names())
    template = load_template("my-drive")
    assert template_values(template) == {"speed": 1.0, "count": 2.0, "ready": 1.0, "idle": 0.0}
    server = TcpDevice({1: device_of(template)})
    points = [
        {"name": "speed", "to": "%ID0"}, {"name": "count", "to": "%ID1"}, {"name": "label", "to": "%IB8"},
        {"name": "ready", "to": "%IX20.0"}, {"name": "idle", "to": "%IX20.1"},
    ]  # fmt: skip
    table = world.table(await server.start(), template="my-drive", point=points)
    try:
        async with world.polling(table) as (_, image):
            await world.until(lambda: set(image.quality) == {GOOD}, "all good")
            assert image.image[:4].view("<f4")[0] == 1.0
            assert image.image[4:8].view("<u4")[0] == 2
            assert b"label" in image.image[8:20].tobytes()
            assert image.image[20] & 3 == 1
    finally:
        await server.stop()
