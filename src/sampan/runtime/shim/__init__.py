"""The shim: `shim` serves one container, `launching` starts it, `stdio` and `attach` move its bytes, `execs` its further
processes."""
