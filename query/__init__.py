"""SQL text to plan to partial results to merged result. Never touches Ray; reads storage, never writes it."""
