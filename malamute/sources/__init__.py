"""Sources: they read events where they lie and store each exactly once, going on from positions kept in the store."""
