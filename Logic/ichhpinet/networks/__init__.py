"""The network of the paper: VIM, SIM, FCM, MPFFM, in two sizes of one code."""

from .config import ModelConfig
from .hpinet import HPINet, Memory, RoundInputs, RoundOutputs
from .summary import summary

__all__ = ["HPINet", "Memory", "ModelConfig", "RoundInputs", "RoundOutputs", "summary"]
