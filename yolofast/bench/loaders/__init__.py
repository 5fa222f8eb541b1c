"""The loader: how fast it is alone, and compared with other loaders."""
