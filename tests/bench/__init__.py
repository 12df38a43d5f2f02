"""`make bench`: what Halftone costs, beside the limit (bare Pillow) and a peer (Celery), on one machine in one run."""
