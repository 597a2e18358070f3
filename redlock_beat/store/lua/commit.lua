-- The commit: turns due occurrences into sent ones. Fence, compare, advance, push, ledger, in one step.
--
-- Scripts do not roll back, so: the first write is one that a full server refuses; an occurrence is
-- advanced before it is pushed (own keys cannot fail half-way); each push is a pcall; and when one
-- fails, that occurrence's pushes are taken back and it is put where its retry time says. No
-- occurrence's error touches another's.
--
-- KEYS: lease, epoch, due, state, entries, ledger, manual, beats
-- ARGV: the fence, ledger size, broker's database number, schedule's,
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
-- returns: what became of each: 'ok', 'stale' or 'failed: why'
-- include: fence
-- include: ledger
-- include: entry
-- include: place
-- include: probe
local due, state, entries, ledger, manual, beats = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local ledger_size, broker_db, own_db, token, heartbeat = word(), word(), word(), word(), word()
local refused = out_of_memory('HSET', beats, token, heartbeat)
if refused then return refused end
renew_term()

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

local answer = {}
for i = 1, tonumber(word()) do
  local name, source, expected, text = word(), word(), word(), word()
  local score_after, state_after, retry_score, retry_state = word(), word(), word(), word()
  local away = word() == '1'
  local pushes, sent, failed = rows(), rows(), words()
  local current
  if source == 'm' then
    current = redis.call('ZSCORE', manual, expected)
  else
    current = unchanged(due, state, name, expected, text)
  end
  if not current then
    answer[#answer + 1] = 'stale'
  else
    local definition = nil
    if source == 'm' then
      redis.call('ZREM', manual, expected)
    elseif state_after == '' then
      definition = redis.call('HGET', entries, name)
      redis.call('ZREM', due, name)
      redis.call('HDEL', state, name)
      redis.call('HDEL', entries, name)
    else
      redis.call('HSET', state, name, state_after)
      place(due, name, score_after)
    end
    local why = deliver(pushes, away)
    if why then
      if source == 'm' then
        redis.call('ZADD', manual, retry_score, expected)
      else
        if definition then redis.call('HSET', entries, name, definition) end
        redis.call('HSET', state, name, retry_state)
        redis.call('ZADD', due, retry_score, name)
      end
      if #failed > 0 then
        failed[#failed + 1] = 'why'
        failed[#failed + 1] = string.sub(why, 1, 300)
      end
      note(ledger, ledger_size, failed)
      answer[#answer + 1] = 'failed: ' .. why
    else
      for _, row in ipairs(sent) do note(ledger, ledger_size, row) end
      answer[#answer + 1] = 'ok'
    end
  end
end
return answer
