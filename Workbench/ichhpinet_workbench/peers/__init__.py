"""What the network is compared with, trained by the same command: MONAI's seven, a 2D U-Net, SLEX-Net; adapters."""
