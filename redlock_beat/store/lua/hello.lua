-- First contact: can this server run us at all? GETDEL came with 6.2, the oldest that can.
-- KEYS: a key that does not exist
-- returns: {why not or '', now, version, maxmemory policy, maxmemory}
-- include: time
local probe = redis.pcall('GETDEL', KEYS[1])
local why = type(probe) == 'table' and probe.err or ''
local version, policy, limit = '', '', ''
local info = redis.pcall('INFO', 'server')
if type(info) == 'string' then
  version = string.match(info, 'valkey_version:([%d.]+)') or string.match(info, 'redis_version:([%d.]+)') or ''
end
info = redis.pcall('INFO', 'memory')
if type(info) == 'string' then
  policy = string.match(info, 'maxmemory_policy:([%w-]+)') or ''
  limit = string.match(info, 'maxmemory:(%d+)') or ''
end
return {why, now, version, policy, limit}
