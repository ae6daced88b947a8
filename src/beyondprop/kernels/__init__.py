"""Operations in several forms, bit for bit the same: plain PyTorch, numba and Triton."""
