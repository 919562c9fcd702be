"""The MoRo network and the mesh tokenizer: modules, and the code that builds them."""
