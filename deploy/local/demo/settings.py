"""The demo's settings: the local stack's, which lets the demo's origin through where nobody else can reach it."""

from pathlib import Path

from deploy.local.settings import ROOT, LocalSettings


class DemoSettings(LocalSettings):
    """The demo always serves its pictures at `demo_origin`, since the stack must know it before it starts."""

    @property
    def output(self) -> Path:
        """Where the manifest, the output CSV and the pictures are left for a person to look at."""
        return ROOT / "demo-output"
