-- An entry compares while neither its score nor its state has changed.
local function unchanged(due, state, name, score, text)
  local found = redis.call('ZSCORE', due, name)
  return found and tonumber(found) == tonumber(score) and redis.call('HGET', state, name) == text
end
