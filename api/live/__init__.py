"""What happens as it happens: GraphQL subscriptions over WebSocket, and Server-Sent Events.

NOTIFY wakes, the database tells. Nothing is queued for a subscriber: each reads on behind its own cursor, so a slow one costs no
memory, and one that comes back with its last cursor misses nothing and sees nothing twice.
"""
