"""A language server for Structured Text: ``tickwork lsp``."""

from programs.lsp.workspace import Workspace

__all__ = ["Workspace"]
