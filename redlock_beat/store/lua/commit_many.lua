-- The commit of many occurrences that are one message for one queue each, and one slot of one entry.
-- The queue is a list of the broker's, if the broker is this server, and else the outbox.
--
-- It does what commit.lua does, with one command for all of them where there is one. Messages are
-- pushed first: when a queue takes none, its entries are tried again in a second, each by itself by
-- the other script. Own keys, which were just read, cannot fail half-way.
--
-- KEYS: lease, epoch, due, state, entries, ledger, beats, outbox
-- ARGV: lease text, epoch, ttl in ms, ledger size, broker's database number, schedule's,
--       token, heartbeat, owner,
--       JSON: {q: [[list or '' for the outbox, how many], ...], n: names, s: expected scores, t: expected states,
--              a: scores after ('' to leave `due`), u: states after ('' to remove the entry),
--              i: ids, m: nominals}, grouped by list,
--       then the messages in that order
-- returns: {0} when the term is over; {1, one letter each (o sent, c claimed, s stale, f failed), why}
-- include: fence
if not term_holds(KEYS[1], KEYS[2], ARGV[1], ARGV[2]) then return {0} end
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', tonumber(time[2]))
local first = redis.pcall('HSET', KEYS[7], ARGV[7], ARGV[8])
if type(first) == 'table' and first.err and string.find(first.err, 'OOM', 1, true) then return first end
renew_term(KEYS[1], ARGV[1], ARGV[3])

local MESSAGES = 10
local ledger_size, away = tonumber(ARGV[4]), ARGV[5] ~= ARGV[6]
local given = cjson.decode(ARGV[10])
local names, ids, nominals, scores_after, states_after = given.n, given.i, given.m, given.a, given.u
local scores = redis.call('ZMSCORE', KEYS[3], unpack(names))
local states = redis.call('HMGET', KEYS[4], unpack(names))
local result, why = {}, ''
local moved, kept, gone = {}, {}, {}
local again = string.format('%d.%06d', time[1] + 1, time[2])

-- What is claimed stands under its id and the number of the message, of which there is one.
local function claim(messages, who)
  local items = {}
  for at, i in ipairs(who) do
    items[2 * at - 1] = ids[i] .. ':0'
    items[2 * at] = messages[at]
  end
  return redis.pcall('HSET', KEYS[8], unpack(items))
end
local function push(list, messages, who)
  if list == '' then return claim(messages, who) end
  if away then
    local went = redis.pcall('SELECT', ARGV[5])
    if went.err then return went end
  end
  local got = redis.pcall('LPUSH', list, unpack(messages))
  if away then redis.call('SELECT', ARGV[6]) end
  return got
end

local at = 0
for _, queue in ipairs(given.q) do
  local messages, who = {}, {}
  for i = at + 1, at + queue[2] do
    if states[i] == given.t[i] and scores[i] == given.s[i] then
      messages[#messages + 1] = ARGV[MESSAGES + i]
      who[#who + 1] = i
    else
      result[i] = 's'
    end
  end
  at = at + queue[2]
  if #who > 0 then
    local got = push(queue[1], messages, who)
    local failed = type(got) == 'table' and got.err
    if failed then why = got.err end
    for _, i in ipairs(who) do
      result[i] = failed and 'f' or queue[1] == '' and 'c' or 'o'
      if failed then
        -- One attempt has failed: the last word of the state, which was 0.
        kept[#kept + 1] = names[i]
        kept[#kept + 1] = string.sub(states[i], 1, -2) .. '1'
        moved[#moved + 1] = again
        moved[#moved + 1] = names[i]
      else
        if states_after[i] == '' then
          gone[#gone + 1] = names[i]
        else
          kept[#kept + 1] = names[i]
          kept[#kept + 1] = states_after[i]
          if scores_after[i] == '' then
            redis.call('ZREM', KEYS[3], names[i])
          else
            moved[#moved + 1] = scores_after[i]
            moved[#moved + 1] = names[i]
          end
        end
      end
    end
  end
end
if #moved > 0 then redis.call('ZADD', KEYS[3], unpack(moved)) end
if #kept > 0 then redis.call('HSET', KEYS[4], unpack(kept)) end
if #gone > 0 then
  redis.call('ZREM', KEYS[3], unpack(gone))
  redis.call('HDEL', KEYS[4], unpack(gone))
  redis.call('HDEL', KEYS[5], unpack(gone))
end
if ledger_size > 0 then
  local epoch, owner = ARGV[2], ARGV[9]
  for i = 1, #names do
    if result[i] == 'o' then
      redis.pcall('XADD', KEYS[6], '*', 'at', now, 'is', 'sent', 'entry', names[i],
                  'nominal', nominals[i], 'epoch', epoch, 'by', owner, 'id', ids[i])
    elseif result[i] == 'f' then
      redis.pcall('XADD', KEYS[6], '*', 'at', now, 'is', 'failed', 'entry', names[i], 'nominal', nominals[i],
                  'epoch', epoch, 'by', owner, 'id', ids[i], 'why', string.sub(why, 1, 300))
    end
  end
  redis.pcall('XTRIM', KEYS[6], 'MAXLEN', '~', ledger_size)
end
return {1, table.concat(result), why}
