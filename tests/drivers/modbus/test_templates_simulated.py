"""Each template against the simulated device of the same template: two independent codings of every type."""

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
