-- The hold, and who leads, by the clock of the server that has them.
-- KEYS: hold, lease
-- returns: {now, the fields of the hold and their values, lease text or ''}
-- include: time
return {now, redis.call('HGETALL', KEYS[1]), redis.call('GET', KEYS[2]) or ''}
