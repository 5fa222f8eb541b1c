"""Readers and writers of label formats, shared by the data stages."""
