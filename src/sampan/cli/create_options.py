"""The flags of `run` and `create`, and the body of POST /containers/create made of them."""

from __future__ import annotations

import os

from sampan.cli.flags import Options
from sampan.cli.parse import devices, environment, health, mounts, networks, ports
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SYNONYMS = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
FLAGS = """
    --add-host list                  Extra line of /etc/hosts (name:address; address may be host-gateway)
    --annotation map                 Annotation for the OCI runtime (key=value)
-a, --attach list                    Attach STDIN, STDOUT or STDERR only
    --blkio-weight uint16            Relative weight of block I/O, 10 to 1000, 0 for none (default 0)
    --blkio-weight-device list       Relative weight on one device (path:weight)
    --cap-add list                   Capability to add, or ALL
    --cap-drop list                  Capability to drop, or ALL
    --cgroup-parent string           Cgroup to put the container's into
    --cgroupns string                Cgroup namespace: host or private
    --cidfile string                 File to write the container's id to
    --cpu-period int                 Length of a CFS period in microseconds
    --cpu-quota int                  CPU time in each CFS period in microseconds
    --cpu-rt-period int              Length of a real-time period in microseconds
    --cpu-rt-runtime int             Real-time CPU in each period in microseconds
-c, --cpu-shares int                 Relative weight of CPU time
    --cpus decimal                   Number of CPUs, such as 1.5
    --cpuset-cpus string             CPUs to run on (0-3, 0,1)
    --cpuset-mems string             Memory nodes to use (0-3, 0,1)
    --device list                    Device of the host (path[:path in the container[:rwm]])
    --device-cgroup-rule list        Rule for the device allow-list (c 1:3 rwm)
    --device-read-bps list           Bytes per second read from a device (path:rate)
    --device-read-iops list          Reads per second from a device (path:rate)
    --device-write-bps list          Bytes per second written to a device (path:rate)
    --device-write-iops list         Writes per second to a device (path:rate)
    --disable-content-trust          Accepted for Docker's sake (default true)
    --dns list                       Name server
    --dns-option list                Option of the resolver
    --dns-search list                Search domain
    --domainname string              NIS domain name
    --entrypoint string              Run this instead of the image's entrypoint
-e, --env list                       Environment variable: NAME=value, or NAME to pass our own
    --env-file list                  File of environment variables, one on each line
    --expose list                    Port or range that the container listens on
    --gpus gpu-request               GPUs to add ("all" for every one)
    --group-add list                 Further group of the process
    --health-cmd string              Command that tells whether the container is healthy
    --health-interval duration       Time between two checks (ms|s|m|h) (default 0s)
    --health-retries int             Failed checks in a row that make it unhealthy
    --health-start-interval duration  Time between two checks while it starts (ms|s|m|h) (default 0s)
    --health-start-period duration   Time to start up, in which failures do not count (ms|s|m|h) (default 0s)
    --health-timeout duration        Time that one check may take (ms|s|m|h) (default 0s)
-h, --hostname string                Host name
    --init                           Run a small init that passes signals on and reaps orphans
-i, --interactive                    Keep standard input open
    --ip string                      IPv4 address on the network
    --ip6 string                     IPv6 address on the network
    --ipc string                     IPC namespace: private, shareable, host, none or container:NAME
    --isolation string               Kind of isolation
    --kernel-memory bytes            Limit of kernel memory (no longer supported by Linux)
-l, --label list                     Label (key=value)
    --label-file list                File of labels, one on each line
    --link list                      Link to another container (name:alias)
    --link-local-ip list             Link-local address
    --log-driver string              Logging driver
    --log-opt list                   Option of the logging driver (key=value)
    --mac-address string             MAC address, such as 92:d0:c6:0a:29:33
-m, --memory bytes                   Limit of memory, such as 512m
    --memory-reservation bytes       Memory to keep for it when memory gets short
    --memory-swap bytes              Limit of memory and swap together; -1 for no limit
    --memory-swappiness int          How readily its memory is swapped out, 0 to 100 (default -1)
    --mount mount                    Mount (type=bind|volume|tmpfs|image,source=…,target=…,…)
    --name string                    Name of the container
    --network network                Network to connect to: a name, or name=…,alias=…,ip=…
    --network-alias list             Further name on the network
    --no-healthcheck                 Ignore the image's HEALTHCHECK
    --oom-kill-disable               Do not kill it when memory runs out
    --oom-score-adj int              How readily it is killed when memory runs out, -1000 to 1000
    --pid string                     PID namespace: host or container:NAME
    --pids-limit int                 Limit of processes, -1 for none
    --platform string                Platform, if the image has several (os/arch[/variant])
    --privileged                     All capabilities and devices, no confinement
-p, --publish list                   Publish a port ([[address:]host port:]port[/protocol])
-P, --publish-all                    Publish every exposed port on a free port of the host
    --pull string                    Fetch the image first: always, missing or never (default "missing")
-q, --quiet                          Do not show how the image is fetched
    --read-only                      Make the root file system read-only
    --restart string                 When to start it again: no, on-failure[:n], always, unless-stopped (default "no")
    --rm                             Remove the container and its anonymous volumes when it exits
    --runtime string                 OCI runtime to use
    --security-opt list              Security option, such as no-new-privileges or seccomp=FILE
    --shm-size bytes                 Size of /dev/shm
    --stop-signal string             Signal that asks it to stop
    --stop-timeout int               Seconds between that signal and SIGKILL
    --storage-opt list               Option of the storage driver
    --sysctl map                     Kernel parameter (name=value)
    --tmpfs list                     Directory to mount a tmpfs on (path[:options])
-t, --tty                            Give it a terminal
    --ulimit ulimit                  Resource limit (name=soft[:hard])
-u, --user string                    User and group (name|uid[:group|gid])
    --userns string                  User namespace: "host" for the engine's own
    --uts string                     UTS namespace: "host" for the host's
-v, --volume list                    Volume or directory ([source:]target[:options])
    --volume-driver string           Driver of volumes that are made for it
    --volumes-from list              Mount the volumes of another container (name[:ro])
-w, --workdir string                 Working directory
"""


def container_body(options: Options, image: str, command: list[str]) -> dict[str, Any]:
    """The request's body. Raises InvalidArgument in Docker's words."""
    attach = _attached(options)
    binds, anonymous = mounts.split_volumes(options.many("volume"))
    exposed, bindings = ports.parse_published(options.many("publish"), options.many("expose"))
    body: dict[str, Any] = {
        "Hostname": options.text("hostname"),
        "Domainname": options.text("domainname"),
        "User": options.text("user"),
        "AttachStdin": "stdin" in attach,
        "AttachStdout": "stdout" in attach,
        "AttachStderr": "stderr" in attach,
        "Tty": options.on("tty"),
        "OpenStdin": options.on("interactive"),
        "StdinOnce": options.on("interactive") and "stdin" in attach,
        "Env": environment.read_variables(options.many("env-file"), options.many("env")),
        "Cmd": command or None,
        "Image": image,
        "Volumes": {path: {} for path in anonymous},
        "WorkingDir": options.text("workdir"),
        "Entrypoint": [options.text("entrypoint")] if options.changed("entrypoint") else None,
        "Labels": environment.read_labels(options.many("label-file"), options.many("label")),
        "ExposedPorts": {port: {} for port in exposed},
    }
    if options.changed("stop-signal"):
        body["StopSignal"] = options.text("stop-signal")
    if options.changed("stop-timeout"):
        body["StopTimeout"] = options.number("stop-timeout")
    if options.text("mac-address"):
        body["MacAddress"] = options.text("mac-address")
    check = health.parse_health(options)
    if check is not None:
        body["Healthcheck"] = check
    network_mode, endpoints = networks.parse_networks(options)
    body["HostConfig"] = _host_config(options, binds, bindings, network_mode)
    body["NetworkingConfig"] = {"EndpointsConfig": endpoints}
    return body


def _attached(options: Options) -> set[str]:
    chosen = {name.lower() for name in options.many("attach")}
    for name in chosen:
        if name not in ("stdin", "stdout", "stderr"):
            raise InvalidArgument(
                f'invalid argument "{name}" for "-a, --attach" flag: valid streams are STDIN, STDOUT and STDERR'
            )
    if chosen:
        return chosen
    return {"stdout", "stderr"} | ({"stdin"} if options.on("interactive") else set())


def _host_config(options: Options, binds: list[str], bindings: dict[str, Any], network_mode: str) -> dict[str, Any]:
    policy = parse_restart(options.text("restart"))
    if options.on("rm") and policy["Name"] not in ("", "no"):
        raise InvalidArgument("conflicting options: cannot specify both --restart and --rm")
    security, masked, readonly = parse_security(options.many("security-opt"))
    host: dict[str, Any] = {
        "Binds": binds or None,
        "ContainerIDFile": options.text("cidfile"),
        "LogConfig": {
            "Type": options.text("log-driver"),
            "Config": environment.pairs(options.many("log-opt"), "logging opt"),
        },
        "NetworkMode": network_mode,
        "PortBindings": bindings,
        "RestartPolicy": policy,
        "AutoRemove": options.on("rm"),
        "VolumeDriver": options.text("volume-driver"),
        "VolumesFrom": options.many("volumes-from") or None,
        "CapAdd": options.many("cap-add") or None,
        "CapDrop": options.many("cap-drop") or None,
        "CgroupnsMode": options.text("cgroupns"),
        "Dns": options.many("dns"),
        "DnsOptions": options.many("dns-option"),
        "DnsSearch": options.many("dns-search"),
        "ExtraHosts": [_extra_host(text) for text in options.many("add-host")] or None,
        "GroupAdd": options.many("group-add") or None,
        "IpcMode": options.text("ipc"),
        "Links": options.many("link") or None,
        "OomScoreAdj": options.number("oom-score-adj"),
        "PidMode": options.text("pid"),
        "Privileged": options.on("privileged"),
        "PublishAllPorts": options.on("publish-all"),
        "ReadonlyRootfs": options.on("read-only"),
        "SecurityOpt": security or None,
        "UTSMode": options.text("uts"),
        "UsernsMode": options.text("userns"),
        "ShmSize": options.number("shm-size"),
        "Sysctls": environment.pairs(options.many("sysctl"), "sysctl"),
        "Tmpfs": dict(_tmpfs(text) for text in options.many("tmpfs")),
        "StorageOpt": environment.pairs(options.many("storage-opt"), "storage option") or None,
        "Runtime": options.text("runtime"),
        "Isolation": options.text("isolation"),
        "Annotations": environment.pairs(options.many("annotation"), "annotation") or None,
        "Mounts": [mounts.parse_mount(text) for text in options.many("mount")] or None,
        **limits(options),
        **devices.parse_devices(options),
    }
    if masked is not None:
        host["MaskedPaths"], host["ReadonlyPaths"] = masked, readonly
    if options.changed("init"):
        host["Init"] = options.on("init")
    return host


def limits(options: Options) -> dict[str, Any]:
    """The resource limits that `run`, `create` and `update` have in common."""
    return {
        "BlkioWeight": options.number("blkio-weight"),
        "CgroupParent": options.text("cgroup-parent"),
        "CpuPeriod": options.number("cpu-period"),
        "CpuQuota": options.number("cpu-quota"),
        "CpuRealtimePeriod": options.number("cpu-rt-period"),
        "CpuRealtimeRuntime": options.number("cpu-rt-runtime"),
        "CpuShares": options.number("cpu-shares"),
        "CpusetCpus": options.text("cpuset-cpus"),
        "CpusetMems": options.text("cpuset-mems"),
        "Memory": options.number("memory"),
        "MemoryReservation": options.number("memory-reservation"),
        "MemorySwap": options.number("memory-swap"),
        "MemorySwappiness": options.number("memory-swappiness"),
        "NanoCpus": options.number("cpus"),
        "OomKillDisable": options.on("oom-kill-disable"),
        "PidsLimit": options.number("pids-limit") if options.changed("pids-limit") else None,
        "Ulimits": [devices.parse_ulimit(text) for text in options.many("ulimit")],
    }


def parse_restart(text: str) -> dict[str, Any]:
    """`on-failure:3` → {"Name", "MaximumRetryCount"}. Raises InvalidArgument."""
    name, mark, count = text.partition(":")
    if mark and not name:
        raise InvalidArgument("invalid restart policy format: no policy provided before colon")
    if mark and not count.isdigit():
        raise InvalidArgument("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def parse_security(texts: list[str]) -> tuple[list[str], list[str] | None, list[str] | None]:
    """(options, masked paths, read-only paths); a seccomp profile is read from its file, the paths are None for the defaults."""
    found: list[str] = []
    masked: list[str] | None = None
    readonly: list[str] | None = None
    for text in texts:
        key, mark, value = text.partition("=")
        if not mark and key not in ("no-new-privileges", "disable"):
            key, mark, value = text.partition(":")
        if not mark and key != "no-new-privileges":
            raise InvalidArgument(f"invalid --security-opt: {text!r}")
        if key == "seccomp" and value not in ("unconfined", "builtin"):
            try:
                with open(value, encoding="utf-8") as file:
                    profile = file.read()
            except OSError as error:
                raise InvalidArgument(f"opening seccomp profile ({value}) failed: {error.strerror}") from None
            found.append("seccomp=" + profile)
        elif text == "systempaths=unconfined":
            masked, readonly = [], []
        else:
            found.append(text)
    return found, masked, readonly


def _extra_host(text: str) -> str:
    name, mark, address = text.partition("=" if "=" in text.partition(":")[0] else ":")
    if not mark or not name or not address:
        raise InvalidArgument(f'invalid argument "{text}" for "--add-host" flag: bad format for add-host: "{text}"')
    return f"{name}:{address.strip('[]')}"


def _tmpfs(text: str) -> tuple[str, str]:
    path, _, settings = text.partition(":")
    return path, settings


def write_id_file(path: str, container_id: str) -> None:
    """--cidfile: written only once the container exists."""
    with open(path, "w", encoding="ascii") as file:
        file.write(container_id)


def check_id_file(path: str) -> None:
    """Raises InvalidArgument if --cidfile exists: it may be another container's."""
    if path and os.path.exists(path):
        raise InvalidArgument("container ID file found, make sure the other container isn't running or delete " + path)
