"""What people ask of the Registry at a terminal, beyond its lists: knows no dumps and prints nothing."""

from harvester.ask.check import Observation, State, Surroundings, look_around, reach_out
from harvester.ask.identify import find

__all__ = ["Observation", "State", "Surroundings", "find", "look_around", "reach_out"]
