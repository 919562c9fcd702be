"""The MoRo network and the mesh tokenizer: modules, and the one place that builds them."""
