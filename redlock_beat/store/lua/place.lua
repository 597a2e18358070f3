-- Give a member of a sorted set its score; '' removes it.
local function place(set, member, score)
  if score == '' then
    redis.call('ZREM', set, member)
  else
    redis.call('ZADD', set, score, member)
  end
end
