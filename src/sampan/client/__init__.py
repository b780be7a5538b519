"""A synchronous client of the Docker Engine API for small processes.

    client.hosts       where the engine is: `unix://`, `tcp://`, TLS
    client.transport   HTTP/1.1 on one socket: requests, chunked bodies, connection hijack
    client.wire        JSON through the C accelerator alone
    client.streams     Docker's multiplexed output frames and streams of JSON messages
    client.engine      `Engine`: version negotiation, errors of the tree, and one attribute per resource
    client.{containers,images,networks,volumes,system}   typed methods, one per endpoint

Nothing here imports `json`, `re`, `typing`, `socket` or `urllib` unless it must: a client that lives for ten milliseconds
notices each of them.
"""
