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


def test_template_when_it_is_an_own_one_then_it_can_be_simulated_too(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[[point]]\nname = "speed"\nfunction = "holding-registers"\naddress = 3\ntype = "int16"\nscale = 0.1\n'
    (tmp_path / "my-drive.toml").write_text(text)
    monkeypatch.setenv("TICKWORK_TEMPLATES", str(tmp_path))
    assert {"my-drive", "xy-md02"} <= set(template_names())
    assert device_of(load_template("my-drive")).holding[3] == 10
