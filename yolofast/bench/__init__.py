"""Comparisons with other libraries, all by one protocol.

Every participant first shows that it does the same work as ours. Then rounds alternate, A B A B ..., so that
whatever else the machine does affects all of them; a result is a median with its 20th and 80th percentile,
and a ratio is formed within each round.

protocol    the rounds, and who takes part or is left out
process     a participant in a process of its own, on its own cores
figures     medians, ratios, the machine, versions, memory, and the result files
chart       bars of a comparison
loaders/    our loader and other loaders
kernels     single kernels and their equivalents in OpenCV and numpy
detections/ NMS and postprocessing; COCO evaluation
jpeg        JPEG decoders
data_stages the label scan, and the commands that read a large dataset
peers/      what runs inside the participants' processes

It stands above the stages because it measures several of them.
"""
