"""Which node a command means: a plant folder, a name, a state directory, or the only one that runs."""

from __future__ import annotations

import os
import pathlib

from runtime.plant import FILE_NAME, NAME, load_plant
from runtime.state import ENVIRONMENT, NodeFile, StateDirectory, state_directory
from scan.problem import fail


def state_of(target: str, state: pathlib.Path | None) -> StateDirectory:
    """The state directory of a plant folder or node name. Raises CL1003 when nothing is said and not one node runs."""
    if state is not None:
        return StateDirectory(state.expanduser().absolute())
    if target:
        folder = pathlib.Path(target)
        if folder.is_dir() and (folder / FILE_NAME).exists():
            plant = load_plant(folder)
            return StateDirectory(state_directory(plant.name, plant.state_directory))
        if NAME.fullmatch(target):
            return StateDirectory(state_directory(target))
        raise fail(
            "CL1002", f"{target!r} is neither a plant folder nor the name of a node",
            expected=f"a folder with {FILE_NAME}, or a name", found=target,
            remedy="`tickwork status` lists the nodes that run here",
        )  # fmt: skip
    running = running_nodes()
    if len(running) == 1:
        return running[0][0]
    names = ", ".join(node.name for _, node in running)
    raise fail(
        "CL1003", "it is not clear which node is meant" if running else "no node runs here",
        expected="the name of one", found=names or "none",
        remedy="say which: `… --node NAME`" if running else "start one: `tickwork run PLANT`",
    )  # fmt: skip


def running_nodes() -> list[tuple[StateDirectory, NodeFile]]:
    """Nodes of this user that run now, as far as their state directories lie where they usually do."""
    root = (
        pathlib.Path(os.environ[ENVIRONMENT]) if os.environ.get(ENVIRONMENT) else state_directory("x").parent
    )
    found = []
    for folder in sorted(root.glob("*")) if root.is_dir() else ():
        state = StateDirectory(folder)
        node = state.read_node_file()
        if node is not None:
            found.append((state, node))
    return found


def running_node(target: str, state: pathlib.Path | None) -> tuple[StateDirectory, NodeFile]:
    """Raises CL3007 when that node does not run."""
    directory = state_of(target, state)
    node = directory.read_node_file()
    if node is None:
        raise fail(
            "CL3007", "this node does not run", found=f"nothing in {directory.node_file}",
            remedy="start it with `tickwork run PLANT`, or give its --state DIR",
        )  # fmt: skip
    return directory, node
