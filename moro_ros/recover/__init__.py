"""From decoded tokens to a placed, steady body with its uncertainty, and the ground."""
