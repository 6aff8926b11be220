"""kvnode: a durable, strictly serializable key-value node that speaks the Redis protocol."""

__version__ = "0.1.0"
