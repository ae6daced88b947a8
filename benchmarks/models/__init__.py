"""Coverage of third-party models, and of models as people commonly write them, by rule."""
