"""Every command, by name: where it lives and what it is for. Looking a command up imports nothing."""

from __future__ import annotations

# Sections of `sampan --help`.
COMMON = {
    "run": "Create a container from an image and start it",
    "exec": "Run a command inside a running container",
    "ps": "List containers",
    "build": "Build an image from a Dockerfile",
    "pull": "Fetch an image from a registry",
    "push": "Send an image to a registry",
    "images": "List images",
    "login": "Log in to a registry",
    "logout": "Log out of a registry",
    "search": "Search a registry for images",
    "version": "Show the versions of client and engine",
    "info": "Show the state of the engine and its host",
    "ping": "Ask whether the engine answers",
}
OTHERS = {
    "attach": "Connect the terminal to a running container",
    "commit": "Make an image of a container's changes",
    "completion": "Print the completion script of a shell",
    "cp": "Copy files between a container and this machine",
    "create": "Create a container without starting it",
    "diff": "List the files that a container has changed",
    "events": "Follow the engine's events",
    "export": "Write a container's file system as a tar archive",
    "history": "Show the layers of an image",
    "import": "Make an image of a tar archive",
    "inspect": "Show everything about objects of any kind",
    "kill": "Send a signal to running containers",
    "load": "Read images from an archive",
    "logs": "Show what a container has written",
    "pause": "Freeze the processes of containers",
    "port": "Show a container's published ports",
    "rename": "Give a container another name",
    "restart": "Stop and start containers",
    "rm": "Remove containers",
    "rmi": "Remove images",
    "save": "Write images into an archive",
    "start": "Start containers that are stopped",
    "stats": "Follow the resources that containers use",
    "stop": "Stop running containers",
    "tag": "Give an image another name",
    "top": "List the processes of a container",
    "unpause": "Let frozen containers run on",
    "update": "Change the limits of containers",
    "wait": "Wait until containers end and print their exit codes",
}
GROUPS = {
    "builder": "Builds and their cache",
    "container": "Containers",
    "context": "Engines to talk to",
    "image": "Images",
    "network": "Networks",
    "system": "The engine as a whole",
    "volume": "Volumes",
}

_SAME = (
    "attach commit cp create diff exec export kill logs pause port rename restart rm run start stats stop top unpause "
    "update wait"
)
# group → command → (module, summary)
MEMBERS: dict[str, dict[str, tuple[str, str]]] = {
    "container": {
        **{name: (name, {**COMMON, **OTHERS}[name]) for name in _SAME.split()},
        "inspect": ("container_inspect", "Show everything about containers"),
        "ls": ("ps", "List containers"),
        "prune": ("container_prune", "Remove all stopped containers"),
    },
    "image": {
        "bootstrap": ("image_bootstrap", "Make a base image of a distribution's own packages"),
        "build": ("build", COMMON["build"]),
        "history": ("history", OTHERS["history"]),
        "import": ("import_", OTHERS["import"]),
        "inspect": ("image_inspect", "Show everything about images"),
        "load": ("load", OTHERS["load"]),
        "ls": ("images", COMMON["images"]),
        "prune": ("image_prune", "Remove images that nothing uses"),
        "pull": ("pull", COMMON["pull"]),
        "push": ("push", COMMON["push"]),
        "rm": ("rmi", OTHERS["rmi"]),
        "save": ("save", OTHERS["save"]),
        "tag": ("tag", OTHERS["tag"]),
    },
    "network": {
        "connect": ("network_connect", "Connect a container to a network"),
        "create": ("network_create", "Create a network"),
        "disconnect": ("network_disconnect", "Disconnect a container from a network"),
        "inspect": ("network_inspect", "Show everything about networks"),
        "ls": ("network_ls", "List networks"),
        "prune": ("network_prune", "Remove networks that nothing uses"),
        "rm": ("network_rm", "Remove networks"),
    },
    "volume": {
        "create": ("volume_create", "Create a volume"),
        "inspect": ("volume_inspect", "Show everything about volumes"),
        "ls": ("volume_ls", "List volumes"),
        "prune": ("volume_prune", "Remove volumes that nothing uses"),
        "rm": ("volume_rm", "Remove volumes"),
    },
    "system": {
        "df": ("system_df", "Show what takes how much disk"),
        "dial-stdio": ("system_dial_stdio", "Connect standard input and output to the engine's socket"),
        "events": ("events", OTHERS["events"]),
        "info": ("info", COMMON["info"]),
        "prune": ("system_prune", "Remove everything that nothing uses"),
    },
    "builder": {
        "build": ("build", COMMON["build"]),
        "prune": ("builder_prune", "Remove the build cache"),
    },
    "context": {
        "inspect": ("context_inspect", "Show everything about contexts"),
        "ls": ("context_ls", "List contexts"),
        "show": ("context_show", "Print the name of the current context"),
    },
}
SYNONYMS = {
    "container list": "ls",
    "container ps": "ls",
    "container remove": "rm",
    "image list": "ls",
    "image remove": "rm",
    "network list": "ls",
    "network remove": "rm",
    "volume list": "ls",
    "volume remove": "rm",
    "context list": "ls",
}
HIDDEN = frozenset(("dial-stdio",))
# What Docker has and `sampan` has not, and what to do instead.
ELSEWHERE = {
    "compose": "docker compose works with this engine: DOCKER_HOST=unix:///run/sampan/sampan.sock docker compose …",
    "buildx": "images are built by `sampan build`",
    "swarm": "Sampan is one engine on one machine",
    "service": "Sampan is one engine on one machine",
    "stack": "docker compose works with this engine: DOCKER_HOST=unix:///run/sampan/sampan.sock docker compose …",
}
_LIKENESS = 0.65


def find(words: list[str]) -> tuple[str, str, list[str]]:
    """(full name, module, remaining words); module "" if the words name a group or nothing that exists."""
    first = words[0]
    if first in GROUPS:
        if len(words) > 1:
            second = SYNONYMS.get(f"{first} {words[1]}", words[1])
            if second in MEMBERS[first]:
                return f"{first} {second}", MEMBERS[first][second][0], words[2:]
        return first, "", words[1:]
    if first == "import":
        return first, "import_", words[1:]
    if first in COMMON or first in OTHERS:
        return first, first, words[1:]
    if first == "help":
        return find([*words[1:], "--help"]) if len(words) > 1 else ("", "", ["--help"])
    if first == "__complete":
        return first, "complete", words[1:]
    return "", "", words


def same_as(module: str) -> list[str]:
    """All full names of a command, for `Aliases:` in its help."""
    names = [
        f"{group} {name}" for group, members in MEMBERS.items() for name, (at, _) in members.items() if at == module
    ]
    names += [
        f"{full.split()[0]} {old}"
        for old, new in _synonym_pairs()
        for full in names
        if f"{full.split()[0]} {new}" == full and f"{full.split()[0]} {old}" in SYNONYMS
    ]
    top = "import" if module == "import_" else module
    if top in COMMON or top in OTHERS:
        names.append(top)
    return list(dict.fromkeys(names))


def _synonym_pairs() -> list[tuple[str, str]]:
    return list(dict.fromkeys((full.split()[1], new) for full, new in SYNONYMS.items()))


def summary(name: str) -> str:
    """What the command of this full name is for."""
    group, _, member = name.partition(" ")
    if member:
        return MEMBERS[group][member][1]
    return COMMON.get(group) or OTHERS.get(group) or GROUPS.get(group, "")


def near(group: str, word: str) -> str:
    """The full name of a command that `word` may have meant, or ""."""
    import difflib

    names = list(MEMBERS[group]) if group else [*COMMON, *OTHERS, *GROUPS]
    found = difflib.get_close_matches(word, names, 1, _LIKENESS)
    return f"{group} {found[0]}".strip() if found else ""
