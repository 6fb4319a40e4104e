"""The shipped networks as plain torch modules, and their weights.

Nothing here imports the rest of cimsim: the networks are to the simulator what a user's own
module is. `cimsim.zoo.registry` lists them without importing torch.
"""
