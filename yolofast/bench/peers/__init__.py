"""What runs inside the participants' processes (`start.py`).

The modules here run in the interpreter of the peers' own environment, too, which has no yolofast: at import
they need numpy alone. They import the package they measure when they are asked to take part, ours as well.
"""
