"""Operations in several forms with identical results: plain PyTorch, numba and Triton."""
