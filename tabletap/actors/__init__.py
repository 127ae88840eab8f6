"""One task per live cafe, order, payment and drawer; each owns its state and its mailbox.

``runtime`` carries messages and keeps actors alive; it knows nothing of cafes. ``ports`` says what actors need of the
world. ``entity`` is the one receive loop; ``cafe``, ``order``, ``payment`` and ``drawer`` put their noun's rules on it.
``desk`` is how everybody else reaches them.

What must hold: state is what the journal has, plus nothing; nobody hears of a decision before its commit; a command is
carried out at most once per delivery and, where it came from another entity, at least once and harmlessly so.
"""
