"""Pages and partials, with the typed context that each template takes."""
