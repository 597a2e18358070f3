-- Redis's time: in microseconds, as the ledger and every answer has it, and as a score.
local seconds, rest = unpack(redis.call('TIME'))
rest = string.format('%06d', rest)
local now, now_score = seconds .. rest, seconds .. '.' .. rest
