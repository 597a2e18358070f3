-- Edits of the schedule: each compared with the state it was made from. All or none are applied.
--
-- The state text changes with every change of an entry, so comparing it compares uid, revision and
-- progress at once. The answer is remembered for a while under the request's key, so that a retry
-- after a lost reply is harmless.
--
-- KEYS: entries, state, due, configured, archive, quarantine, manual, config, lease, epoch, slow[, request]
-- ARGV: lease text ('' for an edit by anyone), epoch, ttl in ms, wake channel,
--       'all' or 'each' (leave out those that do not compare),
--       text of `config` ('=' to leave it), number of edits, then for each:
--   name, expected state ('' not there, '+' there, '*' any, '@uid revision' however far it has come),
--   definition, state ('~revision' to change that alone), score, configured, archive
--   ('=' leave, '-' remove, else the value),
--   number of manual items, each: item, score
-- returns: 'ok', 'deposed', or 'conflict <index from 0> <state now, if any>'; in mode 'each'
--   'ok' followed by the indexes left out
-- include: fence
-- include: wake
local remembered = KEYS[12] and redis.call('GET', KEYS[12])
if remembered then return remembered end
if ARGV[1] ~= '' and not term_holds(KEYS[9], KEYS[10], ARGV[1], ARGV[2]) then return 'deposed' end

local at = 8
local function word()
  local found = ARGV[at]
  at = at + 1
  return found
end
local edits, left_out = {}, {}
for i = 1, tonumber(ARGV[7]) do
  local edit = {name = word(), expected = word(), definition = word(), state = word(), score = word(),
                configured = word(), archive = word(), manual = {}}
  for j = 1, tonumber(word()) do
    edit.manual[j] = {word(), word()}
  end
  local now = redis.call('HGET', KEYS[2], edit.name)
  edit.now = now
  local fits = edit.expected == '*'
    or (now and string.sub(edit.expected, 1, 1) == '@'
        and string.sub(now, 1, #edit.expected) == string.sub(edit.expected, 2) .. ' ')
    or (edit.expected == '+' and now)
    or (edit.expected == '' and not now and redis.call('HEXISTS', KEYS[1], edit.name) == 0)
    or now == edit.expected
  if fits then
    edits[#edits + 1] = edit
  elseif ARGV[5] == 'all' then
    local answer = 'conflict ' .. (i - 1) .. ' ' .. (now or '')
    if KEYS[12] then redis.call('SET', KEYS[12], answer, 'PX', 300000) end
    return answer
  else
    left_out[#left_out + 1] = i - 1
  end
end

local answer = 'ok'
if #left_out > 0 then answer = 'ok ' .. table.concat(left_out, ' ') end
-- The first write is one that a full server refuses: then nothing at all has been done. What only
-- removes is let through all the same, unremembered: it makes room.
if KEYS[12] then
  local frees = #edits > 0
  for _, edit in ipairs(edits) do frees = frees and edit.definition == '-' and #edit.manual == 0 end
  local kept = redis.pcall('SET', KEYS[12], answer, 'PX', 300000)
  if kept.err and not frees then return kept end
end
local function put(key, name, value)
  if value == '-' then
    redis.call('HDEL', key, name)
  elseif value ~= '=' then
    redis.call('HSET', key, name, value)
  end
end
for _, edit in ipairs(edits) do
  put(KEYS[1], edit.name, edit.definition)
  if string.sub(edit.state, 1, 1) == '~' then
    local uid, rest = string.match(edit.now, '^(%S+) %S+ (.*)$')
    edit.state = uid .. ' ' .. string.sub(edit.state, 2) .. ' ' .. rest
  end
  put(KEYS[2], edit.name, edit.state)
  if edit.score == '-' then
    redis.call('ZREM', KEYS[3], edit.name)
  elseif edit.score ~= '=' then
    redis.call('ZADD', KEYS[3], edit.score, edit.name)
  end
  put(KEYS[4], edit.name, edit.configured)
  put(KEYS[5], edit.name, edit.archive)
  if edit.definition ~= '=' then
    redis.call('HDEL', KEYS[6], edit.name)
    redis.call('HDEL', KEYS[11], edit.name)
  end
  for _, item in ipairs(edit.manual) do redis.call('ZADD', KEYS[7], item[2], item[1]) end
end
if ARGV[6] ~= '=' then redis.call('SET', KEYS[8], ARGV[6]) end
if ARGV[1] ~= '' then renew_term(KEYS[9], ARGV[1], ARGV[3]) end
if #edits > 0 then wake(ARGV[4], 'edit') end
return answer
