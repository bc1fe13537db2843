-- A step asked for a retry: give the lease back and set a timer.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 e (stream), 5 leases (zset), 6 timers (zset), 7 active (zset)
-- ARGV: 1 job, 2 step, 3 attempt (the fence), 4 delay (ms), 5 message
-- Returns: 'deferred' | 'already' | 'fenced'
-- Invariant: a step that waits has a timer and no lease.
local job, step = ARGV[1], ARGV[2]
local member = job .. '|' .. step
if redis.call('HEXISTS', KEYS[2], step) == 1 then return 'already' end
local a = read_attempt(KEYS[3], step)
if not a or a.attempt ~= tonumber(ARGV[3]) then return 'fenced' end
if a.live == 0 then return 'already' end
a.live, a.retries = 0, a.retries + 1
write_attempt(KEYS[3], step, a)
redis.call('ZREM', KEYS[5], member)
local now = now_ms()
redis.call('ZADD', KEYS[6], now + ARGV[4], member)
redis.call('ZADD', KEYS[7], 'XX', now, job)
note(KEYS[4], 'retry', step, ARGV[5])
return 'deferred'
