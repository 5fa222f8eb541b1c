"""Reads files of `torch.save` without executing anything in them: see `machine` for how.

file = TorchFile(path)
file.root            # plain values, `Record` for objects of classes, `StoredTensor` for tensors
file.read(tensor)    # the numbers of one tensor
"""

from yolofast.torch_file.file import TorchFile, is_torch_file
from yolofast.torch_file.records import Name, Record, StoredTensor

__all__ = ["Name", "Record", "StoredTensor", "TorchFile", "is_torch_file"]
