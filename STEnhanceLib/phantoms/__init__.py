"""Virtual patients with known truth: functions of position and time, sampled on any grid at any moment.

`thorax` beats and breathes; `knee` bends and `breathing` takes a deep breath, for large motion. The files `…_anatomy`
say what they consist of, `brush` paints their soft-edged shapes, and `sampling` makes sequences of them.
"""
