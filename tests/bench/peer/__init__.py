"""The peer: what an able engineer builds in a week. Celery, SQLAlchemy, requests, Pillow; one task for each image."""
