-- The fence: included by every script that writes for a leader.
--
-- A term is the exact text of the lease key. It holds while the key says so; and when the key has
-- lapsed while nobody else took a term since (the epoch is still ours), it is simply retaken.
local function term_holds(lease_key, epoch_key, text, epoch)
  local held = redis.call('GET', lease_key)
  if held then return held == text end
  return redis.call('GET', epoch_key) == epoch
end

-- PEXPIRE and not SET: a server at its memory limit refuses SET, and a leader must not be lost to that.
local function renew_term(lease_key, text, ttl)
  if redis.call('PEXPIRE', lease_key, ttl) == 0 then
    redis.call('SET', lease_key, text, 'PX', ttl)
  end
end
