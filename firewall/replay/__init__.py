"""Replay: the frames of a capture, judged by a policy, each with the rule that decided."""

from firewall.replay.expect import Result, junit_xml, run_expectations
from firewall.replay.match import EnginesDifferError, match, match_all
from firewall.replay.record import TABLE_HEAD, Record, write_pcapng
from firewall.replay.run import Difference, EngineName, Options, Replayed, replay, uncollected

__all__ = [
    "TABLE_HEAD",
    "Difference",
    "EngineName",
    "EnginesDifferError",
    "Options",
    "Record",
    "Replayed",
    "Result",
    "junit_xml",
    "match",
    "match_all",
    "replay",
    "run_expectations",
    "uncollected",
    "write_pcapng",
]
