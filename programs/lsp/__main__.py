"""``python -m programs.lsp``: the language server on standard input and output."""

from programs.lsp.server import serve

serve()
