"""Pegasus. Zhang et al. 2020, arXiv:1912.08777."""

from transduce.exchange.families.bart import Bart


class Pegasus(Bart):
    model_type = "pegasus"
    architectures = ("PegasusForConditionalGeneration", "PegasusModel")
    pre = True
    normed = False
    learned = False
