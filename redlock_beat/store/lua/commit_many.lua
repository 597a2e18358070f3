-- The commit of many occurrences that are one message for one queue each, and one slot of one entry.
-- The queue is a list of the broker's, if the broker is this server, and else the outbox.
--
-- It does what commit.lua does, with one command for all of them where there is one. Messages are
-- pushed first: when a queue takes none, its entries are tried again in a second, each by itself by
-- the other script. Own keys, which were just read, cannot fail half-way.
--
-- KEYS: lease, epoch, due, state, entries, ledger, beats, outbox
-- ARGV: the fence, ledger size, broker's database number, schedule's,
--       token, heartbeat, owner,
--       JSON: {q: [[list or '' for the outbox, how many], ...], n: names, s: expected scores, t: expected states,
--              a: scores after ('' to leave `due`), u: states after ('' to remove the entry),
--              i: ids, m: nominals}, grouped by list,
--       then the messages in that order. The columns are JSON, since thousands of words are slow to make and to read.
-- returns: {one letter each (o sent, c claimed, s stale, f failed), why}
-- include: fence
-- include: time
-- include: probe
local due, state, entries, ledger, beats, outbox = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local ledger_size, broker_db, own_db, token, heartbeat = tonumber(word()), word(), word(), word(), word()
local owner, given = word(), cjson.decode(word())
local message_of = at - 1
local refused = out_of_memory('HSET', beats, token, heartbeat)
if refused then return refused end
renew_term()

local away = broker_db ~= own_db
local names, ids, nominals, scores_after, states_after = given.n, given.i, given.m, given.a, given.u
local scores = redis.call('ZMSCORE', due, unpack(names))
local states = redis.call('HMGET', state, unpack(names))
local result, why = {}, ''
local moved, kept, gone = {}, {}, {}
local again = string.format('%d.%s', seconds + 1, rest)

-- What is claimed stands under its id and the number of the message, of which there is one.
local function claim(messages, who)
  local items = {}
  for at, i in ipairs(who) do
    items[2 * at - 1] = ids[i] .. ':0'
    items[2 * at] = messages[at]
  end
  return redis.pcall('HSET', outbox, unpack(items))
end
local function push(list, messages, who)
  if list == '' then return claim(messages, who) end
  if away then
    local went = redis.pcall('SELECT', broker_db)
    if went.err then return went end
  end
  local got = redis.pcall('LPUSH', list, unpack(messages))
  if away then redis.call('SELECT', own_db) end
  return got
end

local done = 0
for _, queue in ipairs(given.q) do
  local messages, who = {}, {}
  for i = done + 1, done + queue[2] do
    if states[i] == given.t[i] and scores[i] == given.s[i] then
      messages[#messages + 1] = ARGV[message_of + i]
      who[#who + 1] = i
    else
      result[i] = 's'
    end
  end
  done = done + queue[2]
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
            redis.call('ZREM', due, names[i])
          else
            moved[#moved + 1] = scores_after[i]
            moved[#moved + 1] = names[i]
          end
        end
      end
    end
  end
end
if #moved > 0 then redis.call('ZADD', due, unpack(moved)) end
if #kept > 0 then redis.call('HSET', state, unpack(kept)) end
if #gone > 0 then
  redis.call('ZREM', due, unpack(gone))
  redis.call('HDEL', state, unpack(gone))
  redis.call('HDEL', entries, unpack(gone))
end
if ledger_size > 0 then
  for i = 1, #names do
    if result[i] == 'o' then
      redis.pcall('XADD', ledger, '*', 'at', now, 'is', 'sent', 'entry', names[i],
                  'nominal', nominals[i], 'epoch', epoch, 'by', owner, 'id', ids[i])
    elseif result[i] == 'f' then
      redis.pcall('XADD', ledger, '*', 'at', now, 'is', 'failed', 'entry', names[i], 'nominal', nominals[i],
                  'epoch', epoch, 'by', owner, 'id', ids[i], 'why', string.sub(why, 1, 300))
    end
  end
  redis.pcall('XTRIM', ledger, 'MAXLEN', '~', ledger_size)
end
return {table.concat(result), why}
