"""dl101: a small, typed library behind a tutorial on deep learning for audio-based MIR.

Nothing is imported here, so that ``import dl101`` is instant. Import from the module that
defines what you need, for example ``from dl101.signal.cqt import hcqt``.
"""

__version__ = "0.1.0"
