"""Example nodes that use the topics of moro_node; see docs/examples.md."""
