"""Real processes, real files, real SIGKILL."""
