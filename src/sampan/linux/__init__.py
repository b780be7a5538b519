"""The only room with ctypes, ioctl and raw netlink."""
