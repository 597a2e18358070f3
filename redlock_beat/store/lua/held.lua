-- Whether everything is held, and so nothing is sent.
-- Returns until when (microseconds; '' for no end), or nil. A hold whose time has come counts for nothing.
-- include: time
local function held_until(hold)
  local ends = redis.call('HGET', hold, 'until')
  if ends and (tonumber(ends) or math.huge) > tonumber(now) then return ends end
end
