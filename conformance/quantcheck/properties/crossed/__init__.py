"""Questions on layers, crossed: kinds of layer, policies, uses, and arguments."""
