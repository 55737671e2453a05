"""Networks as PyTorch modules: DA-RefineNet, its variants and U-Net."""
