"""The topics of moro_node, one Output each."""
