-- What is due now, and when to look again. Renews the term.
--
-- Long lists come as JSON texts: one text is read at once where a thousand replies are not.
--
-- KEYS: lease, epoch, due, state, manual, outbox, beats, entries, quarantine, config
-- ARGV: lease text, epoch, ttl in ms, how many, token, heartbeat ('' for none now),
--       how many of the first to leave out
-- returns: {0} when the term is over, else
--   {1, now in s, its microseconds, next score or '', outbox length,
--    [name, ...], [score, ...], [state or false, ...] ('' for none),
--    [definition, ...] (each as it stands: JSON, unless it is rubbish),
--    {manual item, score, ...}, entries, how many of all are due, entries in quarantine,
--    the configuration's mark or '', the server's run id or '', 1 when this server sees the own subscription,
--    the heartbeat that stood there before ('-' for none, '' when none is written now)}
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return {0} end
local time = redis.call('TIME')
local now = time[1] .. '.' .. string.format('%06d', tonumber(time[2]))
local seen = renew_term(KEYS[1], ARGV[1], ARGV[3])
local before = ''
if ARGV[6] ~= '' then
  local found = redis.pcall('HGET', KEYS[7], ARGV[5])
  local put = redis.pcall('HSET', KEYS[7], ARGV[5], ARGV[6])
  if type(put) == 'number' then before = type(found) == 'string' and found or '-' end
end
local due = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'WITHSCORES', 'LIMIT', ARGV[7], ARGV[4])
local manual = redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now, 'WITHSCORES', 'LIMIT', 0, ARGV[4])
local names, scores, states, definitions = {}, {}, '', ''
for i = 1, #due, 2 do
  names[#names + 1] = due[i]
  scores[#scores + 1] = due[i + 1]
end
if #names > 0 then
  -- Definitions may be large: no more of them than make two megabytes, and the rest another time.
  local texts, bytes, at = {}, 0, 1
  while at <= #names and bytes < 2000000 do
    local till = math.min(at + 49, #names)
    for _, text in ipairs(redis.call('HMGET', KEYS[8], unpack(names, at, till))) do
      texts[#texts + 1] = text or 'null'
      bytes = bytes + #texts[#texts]
    end
    at = till + 1
  end
  for i = #names, #texts + 1, -1 do names[i], scores[i] = nil, nil end
  definitions = '[' .. table.concat(texts, ',') .. ']'
  states = cjson.encode(redis.call('HMGET', KEYS[4], unpack(names)))
  names, scores = cjson.encode(names), cjson.encode(scores)
else
  names, scores = '', ''
end
local ahead = ''
for _, key in ipairs({KEYS[3], KEYS[5]}) do
  local first = redis.call('ZRANGEBYSCORE', key, '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] and (ahead == '' or tonumber(first[2]) < tonumber(ahead)) then ahead = first[2] end
end
local backlog = redis.call('ZCOUNT', KEYS[3], '-inf', now) + redis.call('ZCOUNT', KEYS[5], '-inf', now)
-- What is only looked at must not stop what is sent: rubbish under these names counts as nothing.
local function length(key)
  local found = redis.pcall('HLEN', key)
  return type(found) == 'number' and found or 0
end
local mark = redis.pcall('GET', KEYS[10])
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return {1, time[1], time[2], ahead, length(KEYS[6]), names, scores, states, definitions, manual,
        length(KEYS[8]), backlog, length(KEYS[9]), type(mark) == 'string' and mark or '', server, seen and 1 or 0,
        before}
