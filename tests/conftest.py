"""Settings of all tests: repeatable hypothesis examples, two threads."""

import torch
from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("repeatable")
torch.set_num_threads(2)
