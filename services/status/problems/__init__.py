"""Every public error code explained: a registry of texts, and the pages below /docs/problems/."""
