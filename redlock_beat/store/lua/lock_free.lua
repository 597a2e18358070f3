-- Somebody frees a lock, whoever holds it. A call that waits for it is not stopped.
-- KEYS: locks, lock_ends
-- ARGV: digest
-- returns: the id of its holder, or ''
-- include: lock
local locks, ends, digest = KEYS[1], KEYS[2], ARGV[1]
local lock = standing(locks, digest)
free(locks, ends, digest)
return lock and lock.id or ''
