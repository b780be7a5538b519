from __future__ import annotations

from sampan.linux import mount as m
from sampan.runtime.launch import mount_options


def test_later_options_override() -> None:
    parsed = mount_options.parse(["ro", "nosuid", "rw"])
    assert parsed.set_flags == m.MOUNT_ATTR_NOSUID and parsed.clear_flags == m.MOUNT_ATTR_RDONLY


def test_kinds_are_told_apart() -> None:
    parsed = mount_options.parse(["rbind", "rro", "rslave", "size=64k", "mode=755", "tmpcopyup"])
    assert parsed.bind and parsed.recursive and parsed.copy_up
    assert parsed.recursive_set == m.MOUNT_ATTR_RDONLY and parsed.set_flags == 0
    assert parsed.propagation == [(m.MS_SLAVE, True)]
    assert parsed.data == ["size=64k", "mode=755"]


def test_relatime_is_not_a_recursive_flag() -> None:
    parsed = mount_options.parse(["relatime", "rnoatime"])
    assert parsed.recursive_set == m.MOUNT_ATTR_NOATIME and parsed.data == []
