-- Lengthen the lease of a step that is still running, and tell how its job stands.
-- KEYS: 1 m (hash), 2 a (hash), 3 leases (zset), 4 r (hash)
-- ARGV: 1 job, 2 step, 3 owner: host, '~', …, 4 lease (ms)
-- Returns: {'renewed' | 'over' | 'lost', state}; the state is 'lost' for a step whose race was won by another
-- Invariant: 'over' is said to the worker whose attempt has ended and that may still send what follows, or call hooks.
local state = redis.call('HGET', KEYS[1], 'state') or 'gone'
if is_lost(KEYS[4], KEYS[1], ARGV[2]) then return {'lost', 'lost'} end
local a = read_attempt(KEYS[2], ARGV[2])
if a then
  local is_own = string.sub(a.token, 1, #ARGV[3]) == ARGV[3]
  if is_own and a.live == 1 then
    redis.call('ZADD', KEYS[3], now_ms() + ARGV[4], ARGV[1] .. '|' .. ARGV[2])
    return {'renewed', state}
  end
  return {is_own and state ~= 'cancelled' and 'over' or 'lost', state}
end
local _, worker = attempt_of(redis.call('HGET', KEYS[4], ARGV[2]) or '')
return {worker and string.sub(ARGV[3], 1, #worker + 1) == worker .. '~' and 'over' or 'lost', state}
