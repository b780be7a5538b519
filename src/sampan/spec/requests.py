"""The bodies of Docker's API as shapes (see `go_json`), by the names of their Go types (API reference, v1.56)."""

from __future__ import annotations

from typing import Any, Final

from sampan.spec.go_json import ANY, BOOL, INT, STR, WORDS

STRINGS: Final = [STR]
LABELS: Final = {"*": STR}
_EMPTY: Final[dict[str, Any]] = {}  # Go's struct{}
_DEVICE_RATES: Final = [{"Path": STR, "Rate": INT}]

RUN_CONFIG: Final[dict[str, Any]] = {
    "Hostname": STR, "Domainname": STR, "User": STR, "AttachStdin": BOOL, "AttachStdout": BOOL, "AttachStderr": BOOL,
    "ExposedPorts": {"*": _EMPTY}, "Tty": BOOL, "OpenStdin": BOOL, "StdinOnce": BOOL, "Env": STRINGS, "Cmd": WORDS,
    "Healthcheck": {"Test": STRINGS, "Interval": INT, "Timeout": INT, "Retries": INT, "StartPeriod": INT,
                    "StartInterval": INT},
    "ArgsEscaped": BOOL, "Image": STR, "Volumes": {"*": _EMPTY}, "WorkingDir": STR, "Entrypoint": WORDS,
    "NetworkDisabled": BOOL, "MacAddress": STR, "OnBuild": STRINGS, "Labels": LABELS, "StopSignal": STR,
    "StopTimeout": INT, "Shell": WORDS,
}  # fmt: skip
"""What images and containers have in common (container.Config)."""

RESOURCES: Final[dict[str, Any]] = {
    "CpuShares": INT, "Memory": INT, "NanoCpus": INT, "CgroupParent": STR, "BlkioWeight": INT,
    "BlkioWeightDevice": [{"Path": STR, "Weight": INT}], "BlkioDeviceReadBps": _DEVICE_RATES,
    "BlkioDeviceWriteBps": _DEVICE_RATES, "BlkioDeviceReadIOps": _DEVICE_RATES, "BlkioDeviceWriteIOps": _DEVICE_RATES,
    "CpuPeriod": INT, "CpuQuota": INT, "CpuRealtimePeriod": INT, "CpuRealtimeRuntime": INT, "CpusetCpus": STR,
    "CpusetMems": STR, "Devices": [{"PathOnHost": STR, "PathInContainer": STR, "CgroupPermissions": STR}],
    "DeviceCgroupRules": STRINGS,
    "DeviceRequests": [{"Driver": STR, "Count": INT, "DeviceIDs": STRINGS, "Capabilities": [STRINGS],
                        "Options": LABELS}],
    "KernelMemory": INT, "KernelMemoryTCP": INT, "MemoryReservation": INT, "MemorySwap": INT, "MemorySwappiness": INT,
    "OomKillDisable": BOOL, "Init": BOOL, "PidsLimit": INT, "Ulimits": [{"Name": STR, "Soft": INT, "Hard": INT}],
    "CpuCount": INT, "CpuPercent": INT, "IOMaximumIOps": INT, "IOMaximumBandwidth": INT,
}  # fmt: skip
_RESTART_POLICY: Final = {"Name": STR, "MaximumRetryCount": INT}
UPDATE: Final = {**RESOURCES, "RestartPolicy": _RESTART_POLICY}

_MOUNT: Final[dict[str, Any]] = {
    "Target": STR, "Source": STR, "Type": STR, "ReadOnly": BOOL, "Consistency": STR,
    "BindOptions": {"Propagation": STR, "NonRecursive": BOOL, "CreateMountpoint": BOOL, "ReadOnlyNonRecursive": BOOL,
                    "ReadOnlyForceRecursive": BOOL},
    "VolumeOptions": {"NoCopy": BOOL, "Labels": LABELS, "DriverConfig": {"Name": STR, "Options": LABELS},
                      "Subpath": STR},
    "ImageOptions": {"Subpath": STR}, "ClusterOptions": _EMPTY,
    "TmpfsOptions": {"SizeBytes": INT, "Mode": INT, "Options": [STRINGS]},
}  # fmt: skip

HOST_CONFIG: Final[dict[str, Any]] = {
    **UPDATE, "Binds": STRINGS, "ContainerIDFile": STR, "LogConfig": {"Type": STR, "Config": LABELS},
    "NetworkMode": STR, "PortBindings": {"*": [{"HostIp": STR, "HostPort": STR}]}, "AutoRemove": BOOL,
    "VolumeDriver": STR, "VolumesFrom": STRINGS, "ConsoleSize": [INT], "Annotations": LABELS, "CapAdd": WORDS,
    "CapDrop": WORDS, "CgroupnsMode": STR, "Dns": STRINGS, "DnsOptions": STRINGS, "DnsSearch": STRINGS,
    "ExtraHosts": STRINGS, "GroupAdd": STRINGS, "IpcMode": STR, "Cgroup": STR, "Links": STRINGS, "OomScoreAdj": INT,
    "PidMode": STR, "Privileged": BOOL, "PublishAllPorts": BOOL, "ReadonlyRootfs": BOOL, "SecurityOpt": STRINGS,
    "StorageOpt": LABELS, "Tmpfs": LABELS, "UTSMode": STR, "UsernsMode": STR, "ShmSize": INT, "Sysctls": LABELS,
    "Runtime": STR, "Isolation": STR, "Mounts": [_MOUNT], "MaskedPaths": STRINGS, "ReadonlyPaths": STRINGS,
}  # fmt: skip

_ENDPOINT: Final[dict[str, Any]] = {
    "IPAMConfig": {"IPv4Address": STR, "IPv6Address": STR, "LinkLocalIPs": STRINGS}, "Links": STRINGS,
    "MacAddress": STR, "Aliases": STRINGS, "DriverOpts": LABELS, "GwPriority": INT, "NetworkID": STR,
    "EndpointID": STR, "Gateway": STR, "IPAddress": STR, "IPPrefixLen": INT, "IPv6Gateway": STR,
    "GlobalIPv6Address": STR, "GlobalIPv6PrefixLen": INT, "DNSNames": STRINGS,
}  # fmt: skip

CREATE: Final[dict[str, Any]] = {
    **RUN_CONFIG, "HostConfig": HOST_CONFIG, "NetworkingConfig": {"EndpointsConfig": {"*": _ENDPOINT}},
}  # fmt: skip
NETWORK_CREATE: Final[dict[str, Any]] = {
    "Name": STR, "CheckDuplicate": BOOL, "Driver": STR, "Scope": STR, "Internal": BOOL, "Attachable": BOOL,
    "Ingress": BOOL, "ConfigOnly": BOOL, "ConfigFrom": {"Network": STR},
    "IPAM": {"Driver": STR, "Options": LABELS,
             "Config": [{"Subnet": STR, "IPRange": STR, "Gateway": STR, "AuxiliaryAddresses": LABELS,
                         "AuxAddress": LABELS}]},
    "EnableIPv4": BOOL, "EnableIPv6": BOOL, "Options": LABELS, "Labels": LABELS,
}  # fmt: skip
NETWORK_CONNECT: Final[dict[str, Any]] = {"Container": STR, "EndpointConfig": _ENDPOINT}
NETWORK_DISCONNECT: Final = {"Container": STR, "Force": BOOL}
VOLUME_CREATE: Final[dict[str, Any]] = {
    "Name": STR, "Driver": STR, "DriverOpts": LABELS, "Labels": LABELS, "ClusterVolumeSpec": ANY,
}  # fmt: skip
