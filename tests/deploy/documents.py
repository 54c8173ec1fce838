#!/usr/bin/env python3
"""Checks that documents name what exists: commands and their options against --help, metrics and configuration keys
against the generated documents.

    tests/deploy/documents.py PROGRAMS DOCUMENT...    PROGRAMS: the folder of the programs
"""

import functools
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ("secbeat", "secbeat-node", "secbeat-orchestrator")


@functools.cache
def help_of(words):
    """What a command says of itself; None when it does not exist."""
    done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=False, timeout=20)
    return done.stdout if done.returncode == 0 else None


def command_faults(folder, line):
    """Faults of one line of a shell block."""
    words = shlex.split(line, comments=True)
    if not words or words[0] not in PROGRAMS:
        return []
    path, text, rest = (str(folder / words[0]),), None, words[1:]
    text = help_of(path)
    faults, options = [], []
    while rest:
        word = rest.pop(0)
        subcommands = re.search(r"^Commands:\n((?:.+\n?)+)", text, re.MULTILINE)
        if word.startswith("-"):
            options.append(word.split("=")[0])
            # The value of an option that stands before the subcommand.
            if len(path) == 1 and rest and word in ("--config", "-c"):
                rest.pop(0)
        elif subcommands and not re.match(r"^[\d.]+$", word):
            if help_of((*path, word)) is None:
                return [f"`{line}`: there is no {word}"]
            path += (word,)
            text = help_of(path)
    known = text + help_of(path[:1])
    faults += [f"`{line}`: there is no {option}" for option in options if not re.search(rf"(^|[\s,]){option}\b", known)]
    return faults


def name_faults(text, metrics, keys):
    """Metrics and keys that are not."""
    for name in sorted(set(re.findall(r"\bsecbeat_[a-z0-9_]+\b", text))):
        if not name.endswith("_") and name not in metrics:
            yield f"metric {name} does not exist"
    for section, key in sorted(set(re.findall(r"`(\[\[?[a-z_.]+\]\]?) ([a-z0-9_]+)", text))):
        if key not in keys.get(section, ()):
            yield f"key {section} {key} does not exist"


def known_keys():
    """Keys by section, of node and orchestrator."""
    keys, section = {}, None
    for line in (ROOT / "docs/configuration.md").read_text().splitlines():
        if head := re.match(r"^#+ `(\[\[?[\w.]+\]\]?)`", line):
            section = head.group(1)
        elif (row := re.match(r"^\| `(\w+)` \|", line)) and section:
            keys.setdefault(section, set()).add(row.group(1))
    return keys


def main():
    """All faults of all documents."""
    folder, documents = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    texts = {name: (ROOT / name).read_text() for name in documents}
    generated = (ROOT / "docs/metrics.md").read_text()
    metrics = set(re.findall(r"`(secbeat_\w+)`", generated))
    for path in (ROOT / "config/monitoring/rules").glob("*.yml"):
        # Held against the real programs by tests/monitoring.sh.
        metrics |= set(re.findall(r"secbeat_\w+", path.read_text()))
    faults, commands = [], 0
    for name, text in texts.items():
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                commands += 1
                faults += [f"{name}: {fault}" for fault in command_faults(folder, line.strip())]
        for line in re.findall(r"`(secbeat(?:-node|-orchestrator)? [^`]+)`", text):
            commands += 1
            faults += [f"{name}: {fault}" for fault in command_faults(folder, line.replace("...", ""))]
        faults += [f"{name}: {fault}" for fault in name_faults(text, metrics, known_keys())]
    if faults:
        sys.exit("\n".join(faults))
    print(f"{commands} lines of commands in {len(texts)} documents")


if __name__ == "__main__":
    main()
