"""The laws of mixers, for tests of this package and of mixers from others."""
