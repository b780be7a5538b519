"""The runtime as the engine sees it: start through the zygote, talk to shims, collect what dead ones left."""
