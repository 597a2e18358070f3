-- A standby looks who leads. Writes nothing but its own heartbeat.
-- KEYS: lease, beats
-- ARGV: own token, own heartbeat ('' for none now)
-- returns: {lease text or '', ms left, 1 when the holder's subscription is seen here, 1 when the own one is,
--           seconds the server is up, replication id, now}
-- include: words
-- include: time
-- include: presence
local lease, beats = KEYS[1], KEYS[2]
local own, heartbeat = word(), word()
local uptime, replid = 0, ''
local info = redis.pcall('INFO', 'replication')
if type(info) == 'string' then
  -- A replica answers, but nothing can be taken there: the master is somewhere else now.
  if string.find(info, 'role:slave', 1, true) then return redis.error_reply('READONLY this server is a replica now') end
  replid = string.match(info, 'master_replid:(%x+)') or ''
end
info = redis.pcall('INFO', 'server')
if type(info) == 'string' then uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) or 0 end
if heartbeat ~= '' then redis.pcall('HSET', beats, own, heartbeat) end
local held = redis.call('GET', lease)
local holder = held and present(lease, string.match(held, '^(%S*)'))
return {held or '', held and redis.call('PTTL', lease) or 0, holder and 1 or 0, present(lease, own) and 1 or 0,
        uptime, replid, now}
