"""What a stage asked for against what was seen: the reasons why it fails, none when it passes."""

import dataclasses
import re

# The rule that repeats the test's name (setup files); never part of a result.
MARKER_RULE = 999_999


@dataclasses.dataclass
class Seen:
    """What the engine said of one request."""

    ids: set = dataclasses.field(default_factory=set)
    text: str = ""
    # Whether the engine wrote anything that belongs to the request.
    recorded: bool = False


def listed(ids):
    return " ".join(str(rule) for rule in sorted(ids)) or "none"


def reasons(stage, answer, seen):
    if stage.expect_error:
        return [] if answer.error else [f"answered {answer.status}, an error was wanted"]
    if answer.error:
        return [f"no answer: {answer.error}"]
    found = []
    ids = seen.ids - {MARKER_RULE}
    if stage.status and answer.status != stage.status:
        found.append(f"status {answer.status}, wanted {stage.status}")
    if stage.response_contains:
        whole = answer.head + answer.body.decode("utf-8", "replace")
        if not re.search(stage.response_contains, whole):
            found.append(f"the answer does not hold {stage.response_contains!r}")
    missing = set(stage.expect_ids) - ids
    if missing:
        found.append(f"wanted {listed(missing)}, seen {listed(ids)}")
    unwanted = set(stage.no_expect_ids) & ids
    if unwanted:
        found.append(f"unwanted {listed(unwanted)}, seen {listed(ids)}")
    if stage.match_regex and not re.search(stage.match_regex, seen.text):
        found.append(f"nothing matches {stage.match_regex!r}, seen {listed(ids)}")
    if stage.no_match_regex and re.search(stage.no_match_regex, seen.text):
        found.append(f"something matches {stage.no_match_regex!r}")
    if stage.isolated and len(ids) != 1:
        found.append(f"one rule was wanted, seen {listed(ids)}")
    if found and not seen.recorded:
        found[-1] += f" (no record; status {answer.status})"
    elif found:
        found[-1] += f" (status {answer.status})"
    return found
