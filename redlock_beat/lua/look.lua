-- A standby looks who leads. Writes nothing but its own heartbeat.
-- KEYS: lease, beats
-- ARGV: start of the channel name of a token, end of it, own token, own heartbeat ('' for none now)
-- returns: {lease text or '', ms left, subscribers of the holder's channel or -1,
--           seconds the server is up, replication id}
if ARGV[4] ~= '' then redis.pcall('HSET', KEYS[2], ARGV[3], ARGV[4]) end
local held = redis.call('GET', KEYS[1])
local subscribers = -1
if held then
  local token = string.match(held, '^(%S+)')
  local seen = redis.pcall('PUBSUB', 'NUMSUB', ARGV[1] .. (token or '') .. ARGV[2])
  if not seen.err then subscribers = seen[2] end
end
local uptime, replid = 0, ''
local info = redis.pcall('INFO', 'server')
if type(info) == 'string' then uptime = tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) or 0 end
info = redis.pcall('INFO', 'replication')
if type(info) == 'string' then replid = string.match(info, 'master_replid:(%x+)') or '' end
return {held or '', held and redis.call('PTTL', KEYS[1]) or 0, subscribers, uptime, replid}
