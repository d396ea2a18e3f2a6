"""The 52 ARKit weights by name, in the order of Live Link Face's CSV."""

from __future__ import annotations

_SIDES = ("Left", "Right")
_EYE = ("Blink", "LookDown", "LookIn", "LookOut", "LookUp", "Squint", "Wide")

#: The order of Live Link Face's CSV (its UDP stream swaps JawLeft with JawRight and MouthLeft with MouthRight).
ARKIT_NAMES: tuple[str, ...] = (
    *(f"Eye{what}{side}" for side in _SIDES for what in _EYE),
    *("JawForward", "JawRight", "JawLeft", "JawOpen"),
    *("MouthClose", "MouthFunnel", "MouthPucker", "MouthRight", "MouthLeft"),
    *(f"Mouth{what}{side}" for what in ("Smile", "Frown", "Dimple", "Stretch") for side in _SIDES),
    *("MouthRollLower", "MouthRollUpper", "MouthShrugLower", "MouthShrugUpper"),
    *(f"Mouth{what}{side}" for what in ("Press", "LowerDown", "UpperUp") for side in _SIDES),
    *("BrowDownLeft", "BrowDownRight", "BrowInnerUp", "BrowOuterUpLeft", "BrowOuterUpRight"),
    *("CheekPuff", "CheekSquintLeft", "CheekSquintRight", "NoseSneerLeft", "NoseSneerRight", "TongueOut"),
)
