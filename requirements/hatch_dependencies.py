"""Build hook: the distribution's dependencies are the lines of runtime.in, kept in one place."""

import pathlib

from hatchling.metadata.plugin.interface import MetadataHookInterface


class DependenciesHook(MetadataHookInterface):
    def update(self, metadata):
        text = (pathlib.Path(self.root) / "requirements" / "runtime.in").read_text(encoding="utf-8")
        lines = (line.split("#")[0].strip() for line in text.splitlines())
        metadata["dependencies"] = [line for line in lines if line]
