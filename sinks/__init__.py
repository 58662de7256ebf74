"""Whatever consumes from Kafka and writes elsewhere."""
