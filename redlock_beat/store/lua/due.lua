-- What is due now, and when to look again. Renews the term.
--
-- Long lists come as JSON texts: one text is read at once where a thousand replies are not.
--
-- KEYS: lease, epoch, due, state, manual, outbox, beats, entries, quarantine, config
-- ARGV: the fence, how many, token, heartbeat ('' for none now),
--       how many of the first to leave out
-- returns:
--   {now, next score or '', outbox length,
--    [name, ...], [score, ...], [state or false, ...] ('' for none),
--    [definition, ...] (each as it stands: JSON, unless it is rubbish),
--    {manual item, score, ...}, entries, how many of all are due, entries in quarantine,
--    the configuration's mark or '', the server's run id or '', 1 when this server sees the own subscription,
--    the heartbeat that stood there before ('-' for none, '' when none is written now)}
-- include: fence
-- include: time
local due, state, manual, outbox, beats = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local entries, quarantine, config = KEYS[8], KEYS[9], KEYS[10]
local limit, token, heartbeat, skip = word(), word(), word(), word()
local seen = renew_term()
local before = ''
if heartbeat ~= '' then
  local found = redis.pcall('HGET', beats, token)
  local put = redis.pcall('HSET', beats, token, heartbeat)
  if type(put) == 'number' then before = type(found) == 'string' and found or '-' end
end
local found = redis.call('ZRANGEBYSCORE', due, '-inf', now_score, 'WITHSCORES', 'LIMIT', skip, limit)
local waiting = redis.call('ZRANGEBYSCORE', manual, '-inf', now_score, 'WITHSCORES', 'LIMIT', 0, limit)
local names, scores, states, definitions = {}, {}, '', ''
for i = 1, #found, 2 do
  names[#names + 1] = found[i]
  scores[#scores + 1] = found[i + 1]
end
if #names > 0 then
  -- Definitions may be large: no more of them than make two megabytes, and the rest another time.
  local texts, bytes, at = {}, 0, 1
  while at <= #names and bytes < 2000000 do
    local till = math.min(at + 49, #names)
    for _, text in ipairs(redis.call('HMGET', entries, unpack(names, at, till))) do
      texts[#texts + 1] = text or 'null'
      bytes = bytes + #texts[#texts]
    end
    at = till + 1
  end
  for i = #names, #texts + 1, -1 do names[i], scores[i] = nil, nil end
  definitions = '[' .. table.concat(texts, ',') .. ']'
  states = cjson.encode(redis.call('HMGET', state, unpack(names)))
  names, scores = cjson.encode(names), cjson.encode(scores)
else
  names, scores = '', ''
end
local ahead = ''
for _, key in ipairs({due, manual}) do
  local first = redis.call('ZRANGEBYSCORE', key, '(' .. now_score, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] and (ahead == '' or tonumber(first[2]) < tonumber(ahead)) then ahead = first[2] end
end
local backlog = redis.call('ZCOUNT', due, '-inf', now_score) + redis.call('ZCOUNT', manual, '-inf', now_score)
-- What is only looked at must not stop what is sent: rubbish under these names counts as nothing.
local function length(key)
  local found = redis.pcall('HLEN', key)
  return type(found) == 'number' and found or 0
end
local mark = redis.pcall('GET', config)
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return {now, ahead, length(outbox), names, scores, states, definitions, waiting,
        length(entries), backlog, length(quarantine), type(mark) == 'string' and mark or '', server, seen and 1 or 0,
        before}
