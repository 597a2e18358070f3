-- Whether a worker lives: it renews its place among the workers while it does, and takes it along when it goes.
-- include: time
local function alive(workers, token)
  local until_ = redis.call('ZSCORE', workers, token)
  return until_ and tonumber(until_) > tonumber(now_score)
end
