"""Replay: the frames of a capture, judged by a policy, each with the rule that decided."""
