"""Motion data sets and the synthesis of training observations from them."""
