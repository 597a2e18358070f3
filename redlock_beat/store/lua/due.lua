-- What is due now, and when to look again. Renews the term.
--
-- While everything is held, nothing is to be sent: then it names no entry, and says until when. A hold whose time has
-- come is removed here.
--
-- Long lists come as JSON texts: one text is read at once where a thousand replies are not.
--
-- KEYS: lease, epoch, due, state, manual, outbox, beats, entries, quarantine, config, countdowns, hold
-- ARGV: the fence, how many, token, heartbeat ('' for none now),
--       how many of the first entries and of the first waiting items to leave out
-- returns:
--   {now, next score or '', outbox length,
--    [name, ...], [score, ...], [state or false, ...] ('' for none),
--    [definition, ...] (each as it stands: JSON, unless it is rubbish),
--    {manual item, score, ...}, entries, how many of all are due, entries in quarantine,
--    the configuration's mark or '', the server's run id or '', 1 when this server sees the own subscription,
--    the heartbeat that stood there before ('-' for none, '' when none is written now),
--    calls with a countdown or eta: how many are kept, how many of them are due,
--    id of the hold or '', and until when it holds ('' for no end)}
-- include: fence
-- include: held
local due, state, manual, outbox, beats = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local entries, quarantine, config, countdowns, hold = KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local limit, token, heartbeat, skip, skip_waiting = word(), word(), word(), word(), word()
local seen = renew_term()
local hold_id, hold_ends = '', held_until(hold)
if hold_ends then
  limit, hold_id = 0, redis.call('HGET', hold, 'id') or '?'
else
  redis.call('DEL', hold)
end
local before = ''
if heartbeat ~= '' then
  local found = redis.pcall('HGET', beats, token)
  local put = redis.pcall('HSET', beats, token, heartbeat)
  if type(put) == 'number' then before = type(found) == 'string' and found or '-' end
end
local found = redis.call('ZRANGEBYSCORE', due, '-inf', now_score, 'WITHSCORES', 'LIMIT', skip, limit)
local waiting = redis.call('ZRANGEBYSCORE', manual, '-inf', now_score, 'WITHSCORES', 'LIMIT', skip_waiting, limit)
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
-- What is only looked at must not stop what is sent: rubbish under these names counts as nothing.
local function count(...)
  local found = redis.pcall(...)
  return type(found) == 'number' and found or 0
end
local kept, kept_due = count('ZCARD', countdowns), count('ZCOUNT', countdowns, '-inf', now_score)
local ahead = ''
for _, key in ipairs({due, manual, kept > 0 and countdowns or nil}) do
  local first = redis.call('ZRANGEBYSCORE', key, '(' .. now_score, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] and (ahead == '' or tonumber(first[2]) < tonumber(ahead)) then ahead = first[2] end
end
local backlog = redis.call('ZCOUNT', due, '-inf', now_score) + redis.call('ZCOUNT', manual, '-inf', now_score)
local mark = redis.pcall('GET', config)
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
return {now, ahead, count('HLEN', outbox), names, scores, states, definitions, waiting,
        count('HLEN', entries), backlog, count('HLEN', quarantine), type(mark) == 'string' and mark or '', server, seen and 1 or 0,
        before, kept, kept_due, hold_id, hold_ends or ''}
