"""The paper's experiments by name: ablation, loss-weights, lambda, interaction, analysis, comparison, uncertainty."""
