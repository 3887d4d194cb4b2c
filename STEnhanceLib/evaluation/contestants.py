"""Who competes in a benchmark: methods by their keys, or with settings, so that an ablation is a row like any other.

stenhance-sr                                as a user gets it
stenhance-sr[data_consistency=false]        with a parameter changed
stenhance-sr[neighbours=0;prior=none]       two of them; `prior=none` withholds the prior of the protocol
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from STEnhanceLib.errors import STEnhanceError
from STEnhanceLib.evaluation.measured_run import Step
from STEnhanceLib.evaluation.protocols import Trial
from STEnhanceLib.methods import Method, Need, Task, all_methods, find_method, methods_for, parse_parameters

BASELINES, ALL = "baselines", "all"
_PRIOR = Need.PRIOR.value


class Contestant(NamedTuple):
    """A method as it competes.

    Attributes:
        label: its row in the table, the text that asked for it.
        method: what runs.
        settings: that differ from the defaults.
        without_prior: it does not get the prior of the protocol.
    """

    label: str
    method: Method
    settings: Mapping[str, str]
    without_prior: bool = False

    def steps(self, protocol_key: str, trial: Trial) -> list[Step]:
        """What to run on the degraded sequence of a trial, one after the other.

        Raises:
            STEnhanceError: the protocol asks for what the method has no parameter for, or fixes one that was given.
        """
        known = {field.name for field in dataclasses.fields(self.method.parameters)}
        lacking = [name for name in trial.settings if name not in known]
        if lacking:
            raise STEnhanceError(
                f"{self.method.key} cannot undo {protocol_key}: it has no parameter {lacking[0]}, which the protocol "
                f"sets to {trial.settings[lacking[0]]}."
            )
        fixed = [name for name in self.settings if name in trial.settings]
        if fixed:
            raise STEnhanceError(f"{protocol_key} sets {fixed[0]} itself; leave it out of {self.label}.")
        if self._works_alone(trial):
            return [(self.method, {**self.settings, **trial.settings, **trial.alone})]
        own = (self.method, {**self.settings, **trial.settings})
        return [own, *((find_method(key), settings) for key, settings in trial.follow_up)]

    def inputs(self, trial: Trial) -> dict[str, Any]:
        """What the method gets beside the degraded sequence."""
        return {name: given for name, given in trial.inputs.items() if not (self.without_prior and name == _PRIOR)}

    def row_label(self, trial: Trial) -> str:
        """The label with the methods that finish its work."""
        return " + ".join([self.label, *(key for key, _ in trial.follow_up if not self._works_alone(trial))])

    def _works_alone(self, trial: Trial) -> bool:
        """It can finish its work itself, and was not told to do otherwise."""
        known = {field.name for field in dataclasses.fields(self.method.parameters)}
        return bool(trial.alone) and trial.alone.keys() <= known - self.settings.keys()


def split_words(text: str) -> list[str]:
    """Split at commas, but not at those within brackets."""
    return re.split(r",(?![^\[\]]*\])", text)


def contestants(task: Task, words: Sequence[str]) -> list[Contestant]:
    """The baselines of a task and whatever else was asked for, in the order of menus.

    Args:
        task: methods of others are left out.
        words: `baselines`, `all`, keys, or keys with settings in brackets.

    Raises:
        STEnhanceError: no such method or parameter, or a value out of range.
    """
    asked = [_parse(word) for word in words if word not in (BASELINES, ALL)]
    entering = [Contestant(method.key, method, {}) for method in methods_for(task) if method.baseline or ALL in words]
    entering += [contestant for contestant in asked if contestant.method.task is task]
    order = list(all_methods())
    unique = {contestant.label: contestant for contestant in entering}
    return sorted(unique.values(), key=lambda contestant: order.index(contestant.method.key))


def _parse(word: str) -> Contestant:
    found = re.fullmatch(r"([^\[\]]+?)\s*(?:\[([^\[\]]*)\])?", word.strip())
    if not found:
        raise STEnhanceError(f"The method {word!r} was given; expected KEY or KEY[NAME=VALUE;NAME=VALUE].")
    method = find_method(found[1])
    if found[2] is None:
        return Contestant(method.key, method, {})
    settings = {}
    for text in found[2].split(";"):
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise STEnhanceError(f"{text.strip()!r} was given within {word}; expected NAME=VALUE.")
        settings[name] = value
    label = f"{method.key}[{';'.join(f'{name}={value}' for name, value in settings.items())}]"
    prior = settings.pop(_PRIOR, None)
    if prior is not None:
        _check_that_it_can_be_withheld(method, prior)
    parse_parameters(method, settings)
    return Contestant(label, method, settings, without_prior=prior is not None)


def _check_that_it_can_be_withheld(method: Method, prior: str) -> None:
    if prior.lower() != "none":
        raise STEnhanceError(f"{method.key}[prior={prior}] was given; expected prior=none, which withholds the prior.")
    if Need.PRIOR in method.needs:
        raise STEnhanceError(f"{method.key} cannot work without a prior; leave prior=none out.")
    if Need.PRIOR not in method.uses:
        raise STEnhanceError(f"{method.key} takes no prior that could be withheld; leave prior=none out.")
