"""The steps between decoding and encoding, in the order of `pipeline.STEPS`: each `(picture, plan) -> picture`."""
