"""Parts shared by neighbourhoods and modalities: how to train a piece, and digests of it."""
