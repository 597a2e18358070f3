-- A standby looks who leads. Writes nothing but its own heartbeat.
-- KEYS: lease, beats
-- ARGV: own token, own heartbeat ('' for none now)
-- returns: {lease text or '', ms left, 1 when the holder's subscription is seen here, 1 when the own one is,
--           seconds the server is up, replication id, now in s, its microseconds}
-- include: presence
local uptime, replid = 0, ''
local info = redis.pcall('INFO', 'replication')
if type(info) == 'string' then
  -- A replica answers, but nothing can be taken there: the master is somewhere else now.
  if string.find(info, 'role:slave', 1, true) then return redis.error_reply('READONLY this server is a replica now') end
  replid = string.match(info, 'master_replid:(%x+)') or ''
end
info = redis.pcall('INFO', 'server')
if type(info) == 'string' then uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) or 0 end
local time = redis.call('TIME')
if ARGV[2] ~= '' then redis.pcall('HSET', KEYS[2], ARGV[1], ARGV[2]) end
local held = redis.call('GET', KEYS[1])
local holder = held and present(KEYS[1], string.match(held, '^(%S*)'))
return {held or '', held and redis.call('PTTL', KEYS[1]) or 0, holder and 1 or 0, present(KEYS[1], ARGV[1]) and 1 or 0,
        uptime, replid, time[1], time[2]}
