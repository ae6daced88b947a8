"""Models and loops of other libraries: `pip install transformers accelerate` (`make test-all`)."""
