"""The codec's child processes: a picture that hangs, swells or crashes its child costs itself alone."""

from services.worker.codec_pool.driver import Made, PoolClosedError, PoolLimits
from services.worker.codec_pool.pool import CodecPool

__all__ = ["CodecPool", "Made", "PoolClosedError", "PoolLimits"]
