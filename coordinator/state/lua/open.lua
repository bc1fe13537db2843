-- A step expanded into a stream: store its plan, and cut the first batches.
-- KEYS: 1 m (hash), 2 r (hash), 3 a (hash), 4 g (hash), 5 s (hash), 6 v (hash), 7 leases (zset),
--       8 outbox (zset), 9 active (zset)
-- ARGV: 1 job, 2 step, 3 attempt (the fence), 4 plan, 5… fields of the stream (see stream.lua)
-- Returns: {'opened', trigger…} | {'already'} | {'fenced'}
-- Invariant: the first plan wins; the step is recorded when its last item is.
local job, step = ARGV[1], ARGV[2]
local keys = {m = KEYS[1], r = KEYS[2], a = KEYS[3], s = KEYS[5], v = KEYS[6], outbox = KEYS[8]}
stream.age(keys)
if is_lost(KEYS[2], KEYS[1], step) then return {'fenced'} end
if redis.call('HEXISTS', KEYS[2], step) == 1 or redis.call('HEXISTS', KEYS[4], step) == 1 then return {'already'} end
local a = read_attempt(KEYS[3], step)
if not a or a.live ~= 1 or a.attempt ~= tonumber(ARGV[3]) then return {'fenced'} end
a.live = 0
write_attempt(KEYS[3], step, a)
redis.call('HSET', KEYS[4], step, ARGV[4])
redis.call('ZREM', KEYS[7], job .. '|' .. step)
redis.call('ZADD', KEYS[9], 'XX', now_ms(), job)
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[5], step .. ':' .. ARGV[i], ARGV[i + 1]) end
redis.call('HSETNX', KEYS[5], step .. ':serial', 0)
redis.call('HINCRBY', KEYS[1], 'total', redis.call('HGET', KEYS[5], step .. ':total'))
local state = redis.call('HGET', KEYS[1], 'state')
local answer = {'opened'}
stream.fill(stream.of(keys, job, step, state == 'processing' or state == 'received', answer))
stream.age(keys)
age(KEYS[1], {KEYS[4]})
return answer
