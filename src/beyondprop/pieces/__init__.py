"""What neighbourhoods and modalities share: how one piece of a model is taught, and told apart."""
