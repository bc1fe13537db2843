-- A step put a canvas in its place: store that plan and note that its first steps must be sent.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 g (hash), 5 leases (zset), 6 outbox (zset), 7 active (zset),
--       8 b (hash), 9 s (hash)
-- ARGV: 1 job, 2 step, 3 attempt (the fence), 4 plan, 5 number of its steps, 6 its first trigger
-- Returns: 'expanded' | 'already' | 'fenced'
-- Invariant: the first plan wins; the step is recorded when its canvas is.
local job, step = ARGV[1], ARGV[2]
if is_lost(KEYS[2], KEYS[1], step) then return 'fenced' end
if redis.call('HEXISTS', KEYS[2], step) == 1 or redis.call('HEXISTS', KEYS[4], step) == 1 then return 'already' end
local a = read_attempt(KEYS[3], step)
if not a or a.live ~= 1 or a.attempt ~= tonumber(ARGV[3]) then return 'fenced' end
a.live = 0
write_attempt(KEYS[3], step, a)
redis.call('HSET', KEYS[4], step, ARGV[4])
redis.call('HDEL', KEYS[9], step .. ':serial') -- a stream stood here, and was forgotten: no step of now is its
redis.call('HSET', KEYS[8], 'size:' .. step, ARGV[5])
redis.call('HINCRBY', KEYS[1], 'total', ARGV[5])
redis.call('ZREM', KEYS[5], job .. '|' .. step)
age(KEYS[1], {KEYS[4], KEYS[8]})
redis.call('ZADD', KEYS[7], 'XX', now_ms(), job)
must_send(KEYS[6], job .. '|' .. ARGV[6])
return 'expanded'
