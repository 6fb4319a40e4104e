"""A task: classification, measured by the cross-entropy of the right class."""

import torch

from cimsim.api import Classification, Score


class Judge:
    """Adds up the loss of the float network and of the chip."""

    def __init__(self):
        self.samples, self.expected, self.got = 0, 0.0, 0.0

    def add(self, sample, expected, got):
        """Take both answers to one sample."""
        label = torch.tensor([sample.label])
        self.samples += 1
        self.expected += float(torch.nn.functional.cross_entropy(expected[0], label))
        self.got += float(torch.nn.functional.cross_entropy(got[0], label))

    def scores(self):
        """Return the measure."""
        mean, float_ = self.got / self.samples, self.expected / self.samples
        return [Score("log_loss", "nat", "cross-entropy of the right class", mean, float_)]

    def details(self):
        """Return nothing more."""
        return {}


class LogLoss(Classification):
    """What classification takes, another judge."""

    def judge(self, graph):
        """Return who takes the answers."""
        return Judge()
