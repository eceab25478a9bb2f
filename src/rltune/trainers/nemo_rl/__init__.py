"""NeMo RL: its recipes read, checked and run, one trial a start of its own training script.

NeMo RL itself is never imported here; what it does with a recipe is done again with OmegaConf (extra `nemo`).
"""
