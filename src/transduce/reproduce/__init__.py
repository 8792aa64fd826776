"""The claims of the papers as experiments: each states what must be measured before it is run, and is then run."""
