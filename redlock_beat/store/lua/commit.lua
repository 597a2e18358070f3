-- The commit: turns due occurrences into sent ones. Fence, compare, advance, push, ledger, in one step.
--
-- Scripts do not roll back, so: the first write is one that a full server refuses; an occurrence is
-- advanced before it is pushed (own keys cannot fail half-way); each push is a pcall; and when one
-- fails, that occurrence's pushes are taken back and it is put where its retry time says. No
-- occurrence's error touches another's.
--
-- KEYS: lease, epoch, due, state, entries, ledger, manual, beats
-- ARGV: lease text, epoch, ttl in ms, ledger size, broker's database number, schedule's,
--       token, heartbeat, number of occurrences, then for each:
--   name, source ('d' due, 'm' manual),
--   d: expected score; m: the manual item,
--   expected state ('' for m),
--   score after ('' to leave `due`), state after ('' to remove the entry, '=' to leave it),
--   retry score, retry state ('=' for m),
--   1 when the pushes go to the broker's database, else 0,
--   number of pushes, each: how many words, the words,
--   number of ledger rows, each: how many words, the words,
--   words of the ledger row of a failure: how many, the words
-- returns: {0} when the term is over; {1, what became of each: 'ok', 'stale' or 'failed: why'}
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return {0} end
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local first = redis.pcall('HSET', KEYS[8], ARGV[7], ARGV[8])
if type(first) == 'table' and first.err and string.find(first.err, 'OOM', 1, true) then return first end
renew_term(KEYS[1], ARGV[1], ARGV[3])

local ledger_size, broker_db, own_db = tonumber(ARGV[4]), ARGV[5], ARGV[6]
local at = 10
local function word()
  local found = ARGV[at]
  at = at + 1
  return found
end
local function words()
  local found = {}
  for i = 1, tonumber(word()) do found[i] = word() end
  return found
end
local function rows()
  local found = {}
  for i = 1, tonumber(word()) do found[i] = words() end
  return found
end
local function note(row, why)
  if ledger_size == 0 or #row == 0 then return end
  if why then
    row[#row + 1] = 'why'
    row[#row + 1] = string.sub(why, 1, 300)
  end
  redis.pcall('XADD', KEYS[6], 'MAXLEN', '~', ledger_size, '*', 'at', now, unpack(row))
end
local function take_back(pushes, done)
  for i = done, 1, -1 do
    local push = pushes[i]
    if push[1] == 'LPUSH' then redis.pcall('LREM', push[2], 1, push[3]) end
    if push[1] == 'HSET' then redis.pcall('HDEL', push[2], push[3]) end
  end
end
-- Returns why the pushes failed, or nil.
local function deliver(pushes, away)
  if #pushes == 0 then return nil end
  if away then
    local went = redis.pcall('SELECT', broker_db)
    if went.err then return went.err end
  end
  local why = nil
  for i, push in ipairs(pushes) do
    local got = redis.pcall(unpack(push))
    if type(got) == 'table' and got.err then
      why = got.err
      take_back(pushes, i - 1)
      break
    end
  end
  if away then redis.call('SELECT', own_db) end
  return why
end

local answer = {1}
for i = 1, tonumber(ARGV[9]) do
  local name, source, expected, state = word(), word(), word(), word()
  local score_after, state_after, retry_score, retry_state = word(), word(), word(), word()
  local away = word() == '1'
  local pushes, sent, failed = rows(), rows(), words()
  local current
  if source == 'm' then
    current = redis.call('ZSCORE', KEYS[7], expected)
  else
    local score = redis.call('ZSCORE', KEYS[3], name)
    current = score and tonumber(score) == tonumber(expected) and redis.call('HGET', KEYS[4], name) == state
  end
  if not current then
    answer[#answer + 1] = 'stale'
  else
    local definition = nil
    if source == 'm' then
      redis.call('ZREM', KEYS[7], expected)
    elseif state_after == '' then
      definition = redis.call('HGET', KEYS[5], name)
      redis.call('ZREM', KEYS[3], name)
      redis.call('HDEL', KEYS[4], name)
      redis.call('HDEL', KEYS[5], name)
    else
      redis.call('HSET', KEYS[4], name, state_after)
      if score_after == '' then
        redis.call('ZREM', KEYS[3], name)
      else
        redis.call('ZADD', KEYS[3], score_after, name)
      end
    end
    local why = deliver(pushes, away)
    if why then
      if source == 'm' then
        redis.call('ZADD', KEYS[7], retry_score, expected)
      else
        if definition then redis.call('HSET', KEYS[5], name, definition) end
        redis.call('HSET', KEYS[4], name, retry_state)
        redis.call('ZADD', KEYS[3], retry_score, name)
      end
      note(failed, why)
      answer[#answer + 1] = 'failed: ' .. why
    else
      for _, row in ipairs(sent) do note(row) end
      answer[#answer + 1] = 'ok'
    end
  end
end
return answer
